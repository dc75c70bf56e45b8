"""Cohorts to jobs of this machine: its own processes, or submitit's local ones.

A job is one command line. This loop starts jobs for what is ready until nothing is, and learns what
became of them from the run folders alone, never from what a launcher says of a job.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from benchmark.config.errors import UserError
from benchmark.config.runs import ProbeRun, Run, needs_of
from benchmark.job.file import Job
from benchmark.launch.local_job import Crew
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import next_cohort
from benchmark.launch.slurm_submit import executor_of, refusals
from benchmark.launch.slurm_task import Call
from benchmark.launch.status import Status, blame_silent_runs, statuses
from benchmark.processes.child import in_a_child
from benchmark.processes.contract import INTERRUPTED, how
from benchmark.store.folder import Store

if TYPE_CHECKING:
    pass

TOLD_TO_END = {how(code) for code in INTERRUPTED}


class Handle(Protocol):
    """A job that was started."""

    log: Path

    def ended(self) -> str | None:
        """Say how it ended; None while it runs."""

    def stop(self) -> None:
        """Ask it to write down where it is and end."""

    def wait(self, seconds: float) -> None:
        """Give it time to do so."""


class Submitted:
    """A job that submitit's local executor has started."""

    def __init__(self, machine: Machine, job: Path) -> None:
        executor = executor_of(machine, job.parent / "submitit", "kd-suite", 1)
        with refusals():
            self.job = executor.submit(Call(job))
        self.log = Path(self.job.paths.stdout)

    def ended(self) -> str | None:
        """Return submitit's word for how."""
        return f"state {self.job.state}" if self.job.done() else None

    def stop(self) -> None:
        """Cancel it."""
        self.job.cancel()

    def wait(self, seconds: float) -> None:
        """It ends in its own time; its claims go stale if need be."""


class Launcher:
    """Starts jobs on one machine and says which have ended."""

    def __init__(self, machine: Machine, paths: Paths, devices: list[str]) -> None:
        self.machine, self.paths = machine, paths
        self.places = places(machine, devices)
        self.workers = len(self.places) if machine.workers == "auto" else machine.workers
        self.busy: dict[int, Started] = {}
        self.count = 0

    def free(self) -> list[int]:
        """Places where a job could start now."""
        return [place for place in range(self.workers) if place not in self.busy]

    def start(self, place: int, cohort: Sequence[Run]) -> None:
        """Start one job."""
        self.count += 1
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}-{self.count}"
        path = self.paths.results.resolve() / "jobs" / f"{name}.json"
        # A probe is the work of one process.
        count = 1 if any(isinstance(r, ProbeRun) for r in cohort) else self.machine.processes
        shared = self.places[place % len(self.places)].split(",")
        Job(
            runs=[run.id for run in cohort],
            results=str(self.paths.results.resolve()),
            data=str(self.paths.data.resolve()),
            device=",".join(shared[:count]),
            plugins=list(self.paths.plugins),
        ).write(path)
        command = [sys.executable, "-m", "benchmark.job", str(path)]
        handle = (
            Crew(command, count, path.with_suffix(".log"))
            if self.machine.launcher == "local"
            else Submitted(self.machine, path)
        )
        self.busy[place] = Started(handle, list(cohort))

    def reap(self) -> list[tuple[Started, str]]:
        """Free the places of jobs that have ended; return those jobs and how they ended."""
        ended = [(place, word) for place, job in self.busy.items() if (word := job.handle.ended())]
        return [(self.busy.pop(place), word) for place, word in ended]

    def stop(self) -> None:
        """End every job: each has its last epoch on disk and releases its claims."""
        for job in self.busy.values():
            job.handle.stop()
        for job in self.busy.values():
            job.handle.wait(20)
        self.busy.clear()


class Started(NamedTuple):
    """A job that was started."""

    handle: Handle
    cohort: list[Run]


def prepare(machine: Machine, datasets: Sequence[str], data: Path) -> list[str]:
    """Check the data sets before any job starts, and return the devices to deal jobs out to.

    A missing data set is downloaded here, once; a damaged one is a ``UserError`` here, at once.
    """
    count = in_a_child(look_around, datasets, data)
    if machine.launcher != "local":
        return ["cpu" if machine.device == "cpu" else "cuda"]
    if machine.device == "cuda" and count == 0:
        raise UserError("the machine file asks for cuda, but this machine has no usable GPU")
    return [f"cuda:{i}" for i in range(0 if machine.device == "cpu" else count)] or ["cpu"]


def look_around(datasets: Sequence[str], data: Path) -> int:
    """Load every data set once; count the GPUs."""
    import torch

    from benchmark.data import find

    for name in datasets:
        find(name, data).load(data)
    return torch.cuda.device_count()


def places(machine: Machine, devices: Sequence[str]) -> list[str]:
    """Return where jobs can run at once: what each gets, `cuda:0,cuda:1` where it is two processes.

    On CPUs one a core that this process may use. Raises UserError where there are too few GPUs.
    """
    count = machine.processes
    if devices == ["cpu"]:
        return ["cpu"] * max(1, len(os.sched_getaffinity(0)) // count)
    firsts = range(0, len(devices) - count + 1, count)
    if machine.launcher == "local" and not firsts:
        raise UserError(f"processes: {count} in the machine file, and {len(devices)} GPUs here")
    return [",".join(devices[i : i + count]) for i in firsts] * machine.per_device


# ---------------------------------------------------------------- the loop


def run_all(
    runs: Mapping[str, Run],
    store: Store,
    launcher: Launcher,
    show: Callable[[Mapping[str, Status]], None],
) -> dict[str, Status]:
    """Start jobs until every run is done, has failed once, or waits for one that has.

    ``show`` is called with every run's status about once a second. On Ctrl-C the jobs are stopped.
    """
    try:
        return _run_all(runs, store, launcher, show)
    finally:
        launcher.stop()


def _run_all(
    runs: Mapping[str, Run],
    store: Store,
    launcher: Launcher,
    show: Callable[[Mapping[str, Status]], None],
) -> dict[str, Status]:
    tried: set[str] = set()
    waited_for = needs_of(runs.values())
    for run in runs.values():
        store.run(run.id).write_config(run.as_json())
    while True:
        for job, word in launcher.reap():
            if word in TOLD_TO_END:
                raise KeyboardInterrupt  # somebody cancels the suite, by its jobs
            message = f"the job ended ({word}) before the run did; its log is {job.handle.log}"
            blame_silent_runs([run.id for run in job.cohort], store, message)
        found = statuses(runs, store)
        for place in launcher.free():
            ready = [
                run
                for run_id, run in runs.items()
                if found[run_id] in ("ready", "failed") and run_id not in tried
            ]
            if not ready:
                break
            cohort = next_cohort(ready, waited_for, launcher.workers, launcher.machine.largest)
            tried |= {run.id for run in cohort}
            launcher.start(place, cohort)
        show(found)
        if not launcher.busy and "running" not in found.values():
            return found
        wait_for_news(launcher)


def wait_for_news(launcher: Launcher, seconds: float = 1.0) -> None:
    """Sleep until a job has ended, a second at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if any(job.handle.ended() for job in launcher.busy.values()):
            return
        time.sleep(0.05)


# ---------------------------------------------------------------- a suite
