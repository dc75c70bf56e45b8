"""Cancel the jobs of a suite, in the Slurm queue and on this machine."""

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
from benchmark.job.file import Job
from benchmark.launch.slurm_queue import array_id, query_queue, run_slurm_command
from benchmark.launch.status import unfinished_runs
from benchmark.launch.submissions import read_submissions, submission_lock
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.claim import read_claim
from benchmark.store.folder import Store


class Cancelled(NamedTuple):
    """The jobs that were asked to stop."""

    arrays: list[str]
    """Ids of job arrays in the Slurm queue."""
    processes: list[int]
    """Process ids on this machine."""


def cancel_suite(results: Path, suite: str, digest: str, run_ids: Iterable[str]) -> Cancelled:
    """Cancel a suite's jobs: queued and running ones of any user in Slurm, and those on this host.

    Jobs of another suite, or of this one with other settings, go on even if they do the same runs:
    they are known by ``digest``, the hash of the suite's settings.

    Raises UserError if the suite has jobs in Slurm and Slurm does not answer or refuses.
    """
    arrays = []
    if (results / "submissions").exists():
        with submission_lock(results):
            arrays = cancel_queued(results, suite, digest)
    processes = sorted(local_job_pids(results, digest, run_ids))
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGTERM)
    return Cancelled(arrays, processes)


def cancel_queued(results: Path, suite: str, digest: str) -> list[str]:
    """Cancel a suite's job arrays, record that in their submissions, and return the array ids."""
    active = {
        path: submission
        for path, submission in read_submissions(results).items()
        if (submission.suite, submission.digest) == (suite, digest) and not submission.cancelled
    }
    tasks = [
        task
        for submission in active.values()
        for task in submission.tasks
        if unfinished_runs(task.runs, Store(results))
    ]
    queue = query_queue(tasks)
    if queue is None:
        raise UserError(
            "Slurm does not answer on this machine: cancel on a login node, "
            "where squeue and scancel work"
        )
    arrays = sorted({array_id(task) for task in tasks if task.id in queue}, key=int)
    if arrays and run_slurm_command("scancel", *arrays) is None:
        raise UserError(f"Slurm refused: scancel {' '.join(arrays)}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for path, submission in active.items():
        replace(submission, cancelled=now).write(path)
    return arrays


def local_job_pids(results: Path, digest: str, run_ids: Iterable[str]) -> set[int]:
    """Return the ids of a suite's job processes on this machine that claim any of the runs."""
    holders = [read_claim(Store(results).run(run_id).path) for run_id in run_ids]
    here = [holder for holder in holders if holder is not None and not holder.elsewhere()]
    pids = {holder.pid for holder in here if holder.alive(time.time())}
    return {pid for pid in pids if is_job_of(digest, read_command_line(pid))}


def is_job_of(digest: str, command: bytes) -> bool:
    """Return whether a command line is that of a suite's job; a job of an older version may be."""
    if b"benchmark.job" not in command:
        return False
    words = command.rstrip(b"\0").split(b"\0")
    try:
        return Job.read(Path(os.fsdecode(words[-1]))).digest in ("", digest)
    except (FileNotFoundError, DamagedFileError):
        return True  # its claim says that it does one of the suite's runs


def read_command_line(pid: int) -> bytes:
    """Return a process's command line; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
