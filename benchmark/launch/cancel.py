"""Stopping the jobs of a suite: in the queue, and on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.launch.slurm_queue import array_of, ask, told
from benchmark.launch.status import unfinished
from benchmark.launch.submissions import my_turn, submissions
from benchmark.store.claim import read_claim
from benchmark.store.folder import Store


class Cancelled(NamedTuple):
    """What was told to stop: arrays in the queue, and processes of this machine."""

    arrays: list[str]
    processes: list[int]


def cancel(results: Path, suite: str, run_ids: Iterable[str]) -> Cancelled:
    """Cancel a suite's jobs, queued or running, of whoever submitted them; then those here.

    Raises UserError where Slurm has to be asked and does not answer, or refuses.
    """
    arrays = []
    if (results / "submissions").exists():
        with my_turn(results):
            arrays = cancel_queued(results, suite)
    processes = sorted(jobs_here(results, run_ids))
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGTERM)
    return Cancelled(arrays, processes)


def cancel_queued(results: Path, suite: str) -> list[str]:
    """Cancel a suite's arrays and note it; return their numbers."""
    ours = {p: s for p, s in submissions(results).items() if s.suite == suite and not s.cancelled}
    tasks = [
        task
        for submission in ours.values()
        for task in submission.tasks
        if unfinished(task.runs, Store(results))
    ]
    queue = ask(tasks)
    if queue is None:
        raise UserError("Slurm does not answer here: cancel where squeue and scancel do")
    arrays = sorted({array_of(task) for task in tasks if task.id in queue}, key=int)
    if arrays and told("scancel", *arrays) is None:
        raise UserError(f"Slurm refused: scancel {' '.join(arrays)}")
    for path, submission in ours.items():
        replace(submission, cancelled=datetime.now(UTC).isoformat(timespec="seconds")).write(path)
    return arrays


def jobs_here(results: Path, run_ids: Iterable[str]) -> set[int]:
    """Return the processes of this machine that are at work on any of the runs."""
    holders = [read_claim(Store(results).run(run_id).path) for run_id in run_ids]
    here = [h for h in holders if h is not None and not h.elsewhere()]
    pids = {holder.pid for holder in here if holder.alive(time.time())}
    return {pid for pid in pids if b"benchmark.job" in command_of(pid)}


def command_of(pid: int) -> bytes:
    """Return a process's command line, empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
