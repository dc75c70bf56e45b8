"""What Slurm's own commands say of jobs: of those that the queue holds, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING"}
LIVE = PENDING | {"RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT"}
FIELDS = "%i|%T|%r|%N"


class Task(NamedTuple):
    """One element of an array: what one job does."""

    id: str
    """Slurm's, `123_4`."""
    job: str
    log: str
    """Both as paths within the results folder."""
    runs: list[str]


class Queued(NamedTuple):
    """What the queue says of a task."""

    state: str
    reason: str
    nodes: str


Queue = Mapping[str, Queued]
"""By task."""


def ask(tasks: Iterable[Task]) -> Queue | None:
    """Look up which of the tasks are in the queue, in one call; None where it does not answer."""
    ids = sorted({array_of(task) for task in tasks}, key=int)
    if not ids:
        return {}
    listed = ["--noheader", f"--jobs={','.join(ids)}"]
    text = told("squeue", "--array", f"--format={FIELDS}", *listed)
    if text is None:  # the controller is away, as it may be: the accounting is another server's
        columns = "--format=JobID,State,Reason,NodeList"
        text = told("sacct", "--allocations", "--parsable2", columns, *listed)
    if text is None:
        return None
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    live = [row for row in rows if row[1] in LIVE]
    return {task: Queued(*row[1:]) for row in live for task in tasks_in(row[0])}


def tasks_in(job: str) -> Iterator[str]:
    """Yield the tasks of what sacct keeps in one line while none has started: 7_[0-2,5%4]."""
    array, bracket, inner = job.partition("_[")
    if not bracket:
        yield job
        return
    for part in inner.rstrip("]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        last, _, step = last.partition(":")
        for number in range(int(first), int(last or first) + 1, int(step or 1)):
            yield f"{array}_{number}"


def array_of(task: Task) -> str:
    """Return the number that a task shares with the others of its array."""
    return task.id.partition("_")[0]


def told(*command: str) -> str | None:
    """Return what one of Slurm's commands prints; None where it is not there or has no answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    # What it says when it has forgotten the only job that it was asked for.
    return "" if "Invalid job id" in done.stderr else None
