"""Run a suite's cohorts as jobs of this machine: own processes, or submitit's local executor.

A job is one command line. The loop starts jobs for runs that are ready until there are none left.
It learns the results from the run folders only, never from the way a job ended.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmark.config.errors import UserError
from benchmark.config.runs import ProbeRun, Run, needed_ids
from benchmark.job.file import Job
from benchmark.launch.local_job import LocalJob
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import next_cohort
from benchmark.launch.slurm_submit import make_executor, translate_submission_errors
from benchmark.launch.slurm_task import SlurmTask
from benchmark.launch.status import Status, fail_runs_of_dead_job, folder_statuses
from benchmark.processes.child import run_in_child_process
from benchmark.processes.contract import INTERRUPTED_STATUSES, format_exit_status
from benchmark.processes.interrupts import deferred_interrupts, raise_if_interrupted
from benchmark.store.folder import Store

CANCELLED_ENDINGS = {format_exit_status(code) for code in INTERRUPTED_STATUSES}
STOP_SECONDS = 20.0
"""How long a job may take to stop before it is killed."""


# ---------------------------------------------------------------- jobs


class JobHandle(Protocol):
    """A job that was started."""

    log: Path

    def ended(self) -> str | None:
        """Return how the job ended; None while it runs."""

    def stop(self) -> None:
        """Ask the job to release its claims and end."""

    def wait(self, seconds: float) -> None:
        """Wait at most ``seconds`` for the job's end."""


class SubmititJob:
    """A job that submitit's local executor runs."""

    def __init__(self, machine: Machine, job: Path) -> None:
        executor = make_executor(machine, job.parent / "submitit", "kd-suite", 1)
        with translate_submission_errors():
            self.job = executor.submit(SlurmTask(job))
        self.log = Path(self.job.paths.stdout)

    def ended(self) -> str | None:
        return f"state {self.job.state}" if self.job.done() else None

    def stop(self) -> None:
        self.job.cancel()

    def wait(self, seconds: float) -> None:
        """Return at once. If the job leaves claims behind, they become stale by themselves."""


class StartedJob(NamedTuple):
    """A job and the runs that it does."""

    handle: JobHandle
    cohort: list[Run]


class Launcher:
    """Starts jobs on this machine, at most one in each slot, and reports those that have ended."""

    def __init__(
        self, machine: Machine, paths: Paths, devices: list[str], digest: str = ""
    ) -> None:
        self.machine, self.paths, self.digest = machine, paths, digest
        self.slot_devices = device_slots(machine, devices)
        self.workers = len(self.slot_devices) if machine.workers == "auto" else machine.workers
        self.busy: dict[int, StartedJob] = {}
        self.count = 0

    def free_slots(self) -> list[int]:
        """Return the slots in which a job can start now."""
        return [slot for slot in range(self.workers) if slot not in self.busy]

    def start(self, slot: int, cohort: Sequence[Run]) -> None:
        """Write a job file for a cohort and start the job in a slot."""
        self.count += 1
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}-{self.count}"
        path = self.paths.results.resolve() / "jobs" / f"{name}.json"
        # Probes do not support several processes.
        count = 1 if any(isinstance(r, ProbeRun) for r in cohort) else self.machine.processes
        devices = self.slot_devices[slot % len(self.slot_devices)].split(",")
        Job(
            runs=[run.id for run in cohort],
            results=str(self.paths.results.resolve()),
            data=str(self.paths.data.resolve()),
            device=",".join(devices[:count]),
            plugins=list(self.paths.plugins),
            digest=self.digest,
        ).write(path)
        command = [sys.executable, "-m", "benchmark.job", str(path)]
        with deferred_interrupts():  # a job that runs but is not in `busy` would never be stopped
            handle = (
                LocalJob(command, count, path.with_suffix(".log"))
                if self.machine.launcher == "local"
                else SubmititJob(self.machine, path)
            )
            self.busy[slot] = StartedJob(handle, list(cohort))

    def remove_ended(self) -> list[tuple[StartedJob, str]]:
        """Free the slots of jobs that have ended; return those jobs and how each ended."""
        ended = [(s, ending) for s, job in self.busy.items() if (ending := job.handle.ended())]
        return [(self.busy.pop(slot), ending) for slot, ending in ended]

    def stop(self) -> None:
        """Stop every job. Each releases its claims; its finished epochs are on disk already."""
        for job in self.busy.values():
            job.handle.stop()
        for job in self.busy.values():
            job.handle.wait(STOP_SECONDS)
        self.busy.clear()


# ---------------------------------------------------------------- devices


def prepare_devices(machine: Machine, datasets: Sequence[str], data: Path) -> list[str]:
    """Load every data set once and return the devices that jobs can use.

    Downloads data sets that are missing. Raises UserError if one is damaged, or if the machine file
    asks for CUDA and no GPU is usable.
    """
    count = run_in_child_process(load_datasets_and_count_gpus, datasets, data)
    if machine.launcher != "local":
        return ["cpu" if machine.device == "cpu" else "cuda"]
    if machine.device == "cuda" and count == 0:
        raise UserError("the machine file asks for cuda, but this machine has no usable GPU")
    return [f"cuda:{i}" for i in range(0 if machine.device == "cpu" else count)] or ["cpu"]


def load_datasets_and_count_gpus(datasets: Sequence[str], data: Path) -> int:
    """Load every data set, which checks it, and return the number of GPUs that torch can use."""
    import torch

    from benchmark.data import find_data_set

    for name in datasets:
        find_data_set(name, data).load(data)
    return torch.cuda.device_count()


def device_slots(machine: Machine, devices: Sequence[str]) -> list[str]:
    """Return the devices of each job that can run at once, such as `cuda:0,cuda:1` for two GPUs.

    On CPUs there is a slot for each core that this process may use, divided by the processes of a
    job. Raises UserError if there are fewer GPUs than a job has processes.
    """
    count = machine.processes
    if devices == ["cpu"]:
        return ["cpu"] * max(1, len(os.sched_getaffinity(0)) // count)
    firsts = range(0, len(devices) - count + 1, count)
    if machine.launcher == "local" and not firsts:
        raise UserError(
            f"processes: {count} in the machine file needs {count} GPUs, and this machine has "
            f"{len(devices)}"
        )
    return [",".join(devices[i : i + count]) for i in firsts] * machine.per_device


# ---------------------------------------------------------------- the loop


def run_all(
    runs: Mapping[str, Run],
    store: Store,
    launcher: Launcher,
    show: Callable[[Mapping[str, Status]], None],
) -> dict[str, Status]:
    """Start jobs until every run is done, has failed once, or waits for a failed one.

    Calls ``show`` with every run's status about once a second. Stops the jobs on any exception,
    Ctrl-C included.
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
    waited_for = needed_ids(runs.values())
    for run in runs.values():
        store.run(run.id).write_config(run.as_json())
    while True:
        for job, ending in launcher.remove_ended():
            if ending in CANCELLED_ENDINGS:
                raise KeyboardInterrupt  # the command `cancel` has stopped the job
            message = f"the job ended ({ending}) before the run did; its log is {job.handle.log}"
            fail_runs_of_dead_job([run.id for run in job.cohort], store, message)
        statuses = folder_statuses(runs, store)
        for slot in launcher.free_slots():
            ready = [
                run
                for run_id, run in runs.items()
                if statuses[run_id] in ("ready", "failed") and run_id not in tried
            ]
            if not ready:
                break
            cohort = next_cohort(ready, waited_for, launcher.workers, launcher.machine.largest)
            tried |= {run.id for run in cohort}
            launcher.start(slot, cohort)
        show(statuses)
        if not launcher.busy and "running" not in statuses.values():
            return statuses
        wait_for_job_end(launcher)


def wait_for_job_end(launcher: Launcher, seconds: float = 1.0) -> None:
    """Sleep until a job has ended, at most ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        raise_if_interrupted()
        if any(job.handle.ended() for job in launcher.busy.values()):
            return
        time.sleep(0.05)
