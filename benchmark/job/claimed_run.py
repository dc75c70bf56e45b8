"""The runs that a job trains: those of its list that it could claim."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import torch

from benchmark.config.errors import UserError
from benchmark.config.runs import Run, parse_run
from benchmark.job.file import Job
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks
from benchmark.processes.interrupts import deferred_interrupts
from benchmark.store.claim import Claim, claim_run, read_claim
from benchmark.store.folder import RunFolder, Store
from benchmark.store.record import Environment
from benchmark.training.learner import Learner


class ClaimedRun:
    """A run with its folder, its claim and, while it is trained, its learner."""

    def __init__(self, run: Run, folder: RunFolder, claim: Claim | None) -> None:
        self.run, self.folder, self._claim = run, folder, claim
        self.started = utc_now()
        self.earlier: list[Environment] = []
        """Where the epochs before the checkpoint were trained, one for each checkpoint's job."""
        self.halved = 0
        """How often the job split its runs in halves for want of memory."""
        self.learner: Learner

    @classmethod
    def of_other_rank(cls, folder: RunFolder) -> Self:
        """Return the run for a process that does not write: rank 0 holds the claim."""
        return cls(parse_run(folder.read_config()), folder, None)

    @property
    def claim(self) -> Claim:
        """The claim; only rank 0 has it."""
        assert self._claim is not None
        return self._claim


class JobContext(NamedTuple):
    """The job, the results folder, the device and the processes that share the work."""

    job: Job
    store: Store
    device: torch.device
    ranks: Ranks = SINGLE_PROCESS


def claim_runs(job: Job, store: Store, stack: contextlib.ExitStack) -> Iterator[ClaimedRun]:
    """Claim the job's runs; skip those that are done, need another run or belong to somebody else.

    ``stack`` keeps the heartbeats going and releases the claims when it closes.
    """
    folders = [store.run(run_id) for run_id in job.runs]
    claims = claim_folders([folder.path for folder in folders], stack)
    for folder, claim in zip(folders, claims, strict=True):
        if claim is None:
            log_line(f"{folder.path.name} is claimed by another process")
            continue
        # Only now: another process may have finished the run just before the claim became free.
        if folder.state() == "done":
            continue
        try:
            run = parse_run(folder.read_config())
            if run.id != folder.path.name:
                raise ValueError(f"it is the configuration of {run.id}")
        except (UserError, ValueError, OSError) as error:  # a damaged file costs this run only
            log_line(f"{folder.path.name} FAILED: {error}")
            folder.write_failure("error", f"{folder.config} is not a run: {error}")
            claim.release()
            continue
        missing = [need.id for need in run.needs if store.run(need.id).state() != "done"]
        if missing:
            log_line(f"{run.id} waits: {', '.join(missing)} is not done")
            claim.release()
            continue
        folder.clear_failure()  # else it would explain this attempt, should the process be killed
        stack.enter_context(claim.keep_alive())
        yield ClaimedRun(run, folder, claim)


def claim_folders(
    folders: Sequence[Path], stack: contextlib.ExitStack, pause: float = 1.0
) -> list[Claim | None]:
    """Claim folders; None for each that a live process holds.

    The claims of a node that has crashed seem alive for some minutes, and a cluster may restart its
    job sooner. So wait for each claim from another machine until its heartbeat changes (its holder
    is at work) or is too old (then take it). ``stack`` releases the claims; ``pause`` is the
    seconds between two checks.
    """
    claims = {folder: claim_until_exit(folder, stack) for folder in folders}
    first_seen = {folder: read_claim(folder) for folder, claim in claims.items() if claim is None}
    while undecided := [
        folder for folder, holder in first_seen.items() if holder and holder.elsewhere()
    ]:
        time.sleep(pause)
        for folder in undecided:
            claims[folder] = claim_until_exit(folder, stack)
            before, now = first_seen[folder], read_claim(folder)
            if claims[folder] or (before and now and now.heartbeat != before.heartbeat):
                first_seen[folder] = None
            elif now is None:
                continue  # released just now: the next round claims it
    return [claims[folder] for folder in folders]


def claim_until_exit(folder: Path, stack: contextlib.ExitStack) -> Claim | None:
    """Claim a folder if possible; ``stack`` releases it, even if an interrupt comes right now."""
    with deferred_interrupts():
        claim = claim_run(folder)
        if claim is not None:
            stack.callback(claim.release)
    return claim


def utc_now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def log_line(line: str) -> None:
    """Print a line of the job's log, with the local time."""
    with contextlib.suppress(OSError):  # a full disk must not stop the training
        print(f"{datetime.now():%H:%M:%S} {line}", flush=True)
