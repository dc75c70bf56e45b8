"""Ask Slurm which jobs are in its queue, through squeue or sacct."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING"}
LIVE = PENDING | {"RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT"}
SQUEUE_FORMAT = "%i|%T|%r|%N"


@dataclass(frozen=True)
class ArrayTask:
    """One task of a Slurm job array, which is one job of the suite."""

    id: str
    """Slurm's id, such as `123_4`."""
    job: str
    """The job file, relative to the results folder."""
    log: str
    """The log file, relative to the results folder."""
    runs: list[str]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9][0-9]*(_[0-9]+)?", self.id):  # it becomes part of a command
            raise ValueError(f"the Slurm job id is {self.id!r:.60}")
        for path in map(PurePath, (self.job, self.log)):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{path} is not in the results folder")


class QueueEntry(NamedTuple):
    """What the queue reports about a task."""

    state: str
    reason: str
    nodes: str


Queue = Mapping[str, QueueEntry]
"""The tasks that are in the queue, by task id."""


def query_queue(tasks: Iterable[ArrayTask]) -> Queue | None:
    """Return the queue entries of the given tasks' arrays; None if Slurm does not answer.

    Tasks that have ended are not in the result. Without tasks, Slurm is not asked.
    """
    ids = sorted({array_id(task) for task in tasks}, key=int)
    if not ids:
        return {}
    options = ["--noheader", f"--jobs={','.join(ids)}"]
    text = run_slurm_command("squeue", "--array", f"--format={SQUEUE_FORMAT}", *options)
    if text is None:  # the controller may be down while the accounting server still answers
        columns = "--format=JobID,State,Reason,NodeList"
        text = run_slurm_command("sacct", "--allocations", "--parsable2", columns, *options)
    if text is None:
        return None
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    live = [row for row in rows if row[1] in LIVE]
    return {task: QueueEntry(*row[1:]) for row in live for task in expand_task_ids(row[0])}


def expand_task_ids(job: str) -> Iterator[str]:
    """Yield the task ids of a job id; sacct writes pending tasks as one: `7_[0-2,5%4]`."""
    array, bracket, inner = job.partition("_[")
    if not bracket:
        yield job
        return
    for part in inner.rstrip("]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        last, _, step = last.partition(":")
        for number in range(int(first), int(last or first) + 1, int(step or 1)):
            yield f"{array}_{number}"


def array_id(task: ArrayTask) -> str:
    """Return the id of a task's array: `123` of `123_4`."""
    return task.id.partition("_")[0]


def run_slurm_command(*command: str) -> str | None:
    """Return the standard output of a Slurm command; None if it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    # Slurm forgets a job some minutes after its end and then reports an error: no live tasks.
    return "" if "Invalid job id" in done.stderr else None
