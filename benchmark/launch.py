"""Cohorts to jobs: processes of this machine, or a cluster's through submitit.

A job is one command line. This loop starts jobs for what is ready until nothing is, and learns what
became of them from the run folders alone, never from what a launcher says of a job.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from benchmark.child import in_a_child
from benchmark.errors import UserError
from benchmark.machine import Machine
from benchmark.plan import Job, Status, next_cohort, statuses
from benchmark.store import Store
from benchmark.transfer import Run

ROOT = Path(__file__).resolve().parent.parent


class Paths(NamedTuple):
    """Where things lie."""

    results: Path
    data: Path
    plugins: tuple[str, ...] = ()


class Handle(Protocol):
    """A job that was started."""

    log: Path

    def ended(self) -> str | None:
        """Say how it ended; None while it runs."""

    def stop(self) -> None:
        """Ask it to write down where it is and end."""

    def wait(self, seconds: float) -> None:
        """Give it time to do so."""


class Process:
    """A job as a process of this machine, in a session of its own: Ctrl-C reaches it through us."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        self.file: IO[bytes] = log.open("ab")
        self.process = subprocess.Popen(
            command,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            env=os.environ | additions(),
            start_new_session=True,
        )

    def ended(self) -> str | None:
        """Return exit code or signal."""
        code = self.process.poll()
        if code is None:
            return None
        self.file.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()

    def wait(self, seconds: float) -> None:
        """Kill it if it takes longer."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Submitted:
    """A job in a cluster's queue."""

    def __init__(self, job: Any) -> None:  # noqa: ANN401  (submitit has no types that mypy can read here)
        self.job = job
        self.log = Path(job.paths.stdout)

    def ended(self) -> str | None:
        """Return the cluster's word for how."""
        return f"state {self.job.state}" if self.job.done() else None

    def stop(self) -> None:
        """Cancel it."""
        self.job.cancel()

    def wait(self, seconds: float) -> None:
        """A cluster ends its jobs in its own time; their claims go stale if need be."""


class Call:
    """What submitit pickles and calls on a node: the job's command line, and what to do on USR2."""

    def __init__(self, command: list[str]) -> None:
        self.command = command

    def __call__(self) -> None:
        """Run the job in the node's own environment, where Slurm says which GPU is whose."""
        subprocess.run(self.command, env=os.environ | additions(), check=True)

    def checkpoint(self) -> Any:  # noqa: ANN401  (submitit's)
        """Before a time limit or a preemption: be queued again, to go on from the last epoch."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def additions() -> dict[str, str]:
    """Let a job import this checkout from wherever it starts, and keep libraries to one thread."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Launcher:
    """Starts jobs on one machine or cluster and says which have ended."""

    def __init__(self, machine: Machine, paths: Paths, devices: list[str]) -> None:
        self.machine, self.paths, self.devices = machine, paths, devices
        self.workers = default_workers(devices) if machine.workers == "auto" else machine.workers
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
        Job(
            runs=[run.id for run in cohort],
            results=str(self.paths.results.resolve()),
            data=str(self.paths.data.resolve()),
            device=self.devices[place % len(self.devices)],
            plugins=list(self.paths.plugins),
        ).write(path)
        command = [sys.executable, "-m", "benchmark.job", str(path)]
        handle = (
            Process(command, path.with_suffix(".log"))
            if self.machine.launcher == "local"
            else submit(self.machine, command, path.parent)
        )
        self.busy[place] = Started(handle, list(cohort))

    def reap(self) -> list[tuple[Started, str]]:
        """Free the places of jobs that have ended; return those jobs and how they ended."""
        ended = [(place, how) for place, job in self.busy.items() if (how := job.handle.ended())]
        return [(self.busy.pop(place), how) for place, how in ended]

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


def default_workers(devices: Sequence[str]) -> int:
    """One process a GPU, or one a CPU core that this process may use."""
    return len(os.sched_getaffinity(0)) if devices == ["cpu"] else len(devices)


def submit(machine: Machine, command: list[str], folder: Path) -> Submitted:
    """Queue a job through submitit."""
    import submitit
    from submitit.core.utils import FailedJobError

    cluster = "slurm" if machine.launcher == "slurm" else "local"
    try:
        executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=cluster)
        executor.update_parameters(name="kd-suite", **machine.sbatch)
        return Submitted(executor.submit(Call(command)))
    except (RuntimeError, NameError, TypeError, ValueError, FailedJobError) as error:
        raise UserError(f"the job could not be submitted: {error}") from error


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
    waited_for = {need.id for run in runs.values() for need in run.needs}
    for run in runs.values():
        store.run(run.id).write_config(run.as_json())
    while True:
        for job, how in launcher.reap():
            blame_silent_runs(job, how, store)
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


def blame_silent_runs(job: Started, how: str, store: Store) -> None:
    """A job that died without a word (kill -9, out of memory) has its runs marked failed.

    A run with a record, a failure or somebody else's live claim is not silent.
    """
    for run in job.cohort:
        folder = store.run(run.id)
        if folder.state() == "waiting":
            message = f"the job ended ({how}) before the run did; its log is {job.handle.log}"
            folder.write_failure("died", message)
