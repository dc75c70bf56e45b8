"""Who takes part in a job: the runs that it could claim, with what belongs to each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import torch

from benchmark.config.runs import Run, parse
from benchmark.job.file import Job
from benchmark.processes.distributed import ALONE, Ranks
from benchmark.store.claim import Claim, claim, read_claim
from benchmark.store.folder import RunFolder, Store
from benchmark.training.learner import Learner


class Member:
    """A learner with the folder and the claim that belong to it."""

    def __init__(self, run: Run, folder: RunFolder, held: Claim | None) -> None:
        self.run, self.folder, self._claim = run, folder, held
        self.started = now()
        self.halved = 0
        """How often its cohort was halved for want of memory."""
        self.learner: Learner

    @classmethod
    def beside(cls, folder: RunFolder) -> Self:
        """For a process beside the one that has claimed the run and writes."""
        return cls(parse(folder.read_config()), folder, None)

    @property
    def claim(self) -> Claim:
        """The leader's."""
        assert self._claim is not None
        return self._claim


class Place(NamedTuple):
    """Where a job is done."""

    job: Job
    store: Store
    device: torch.device
    ranks: Ranks = ALONE


def take(job: Job, store: Store, held: contextlib.ExitStack) -> Iterator[Member]:
    """Claim the job's runs; those that are done, that wait or are someone else's are left alone."""
    folders = [store.run(run_id) for run_id in job.runs]
    for folder, mine in zip(folders, claimed([folder.path for folder in folders]), strict=True):
        if mine is None:
            say(f"{folder.path.name} is somebody else's")
            continue
        held.callback(mine.release)
        # Looked at only now: it may have been finished just before the claim was free.
        if folder.state() == "done":
            continue
        run = parse(folder.read_config())
        waits = [need.id for need in run.needs if store.run(need.id).state() != "done"]
        if waits:
            say(f"{run.id} waits: {', '.join(waits)} is not done")
            mine.release()
            continue
        folder.clear_failure()  # should this attempt die silently, the old one is not to blame
        held.enter_context(mine.keep_alive())
        yield Member(run, folder, mine)


def claimed(folders: Sequence[Path], pause: float = 1.0) -> list[Claim | None]:
    """Claim folders, with patience for claims whose holder may be dead.

    A node that has died leaves claims that look alive for a while, and the job that a cluster
    starts again in its place comes sooner than that. So where a claim from elsewhere is in the
    way, wait until its heart beats (it is at work: leave it) or has not for too long.
    """
    found = {folder: claim(folder) for folder in folders}
    seen = {folder: read_claim(folder) for folder, mine in found.items() if mine is None}
    while doubtful := [folder for folder, other in seen.items() if other and other.elsewhere()]:
        time.sleep(pause)
        for folder in doubtful:
            found[folder] = claim(folder)
            before, now = seen[folder], read_claim(folder)
            if found[folder] or (before and now and now.heartbeat != before.heartbeat):
                seen[folder] = None
            elif now is None:
                continue  # just given back: the next round takes it
    return [found[folder] for folder in folders]


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def say(line: str) -> None:
    """Print a line of the job's log."""
    with contextlib.suppress(OSError):  # a log that cannot be written is no reason to stop
        print(f"{datetime.now():%H:%M:%S} {line}", flush=True)
