"""Submit a suite to Slurm through submitit: a job array for each wave, a job for each cohort."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.config.errors import UserError, suggest
from benchmark.config.runs import ProbeRun, Run, needed_ids
from benchmark.job.file import Job
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import split_into_cohorts, split_into_waves
from benchmark.launch.slurm_checks import check_log_path, check_slurm, max_array_size
from benchmark.launch.slurm_queue import ArrayTask, array_id, query_queue
from benchmark.launch.slurm_task import SlurmTask
from benchmark.launch.status import statuses_with_queue
from benchmark.launch.submissions import (
    Submission,
    cancelling_unrecorded,
    submission_lock,
    tasks_by_run,
)
from benchmark.processes.contract import ROOT
from benchmark.processes.interrupts import deferred_interrupts
from benchmark.store.folder import Store

DERIVED_SETTINGS = {
    "slurm_array_parallelism": "workers",
    "slurm_dependency": "the order of the runs",
}
"""submitit settings that a machine file must not give, and what the suite derives them from."""
EXECUTOR_SETTINGS = {"slurm_python": None, "slurm_max_num_timeout": 100}
"""submitit settings that its executor's constructor takes, with our defaults. A job may be requeued
after many time limits."""
NODE_SETTINGS = ("nodes", "slurm_nodes")
TASK_SETTINGS = ("tasks_per_node", "slurm_tasks_per_node", "slurm_ntasks_per_node")
IGNORE_USR2 = """sh -c 'trap "" USR2; exec "$0" "$@"'"""
"""Starts Python with USR2 ignored. Otherwise Slurm's warning kills a job in which submitit has not
installed its handler yet, and the job counts as failed. If the warning is ignored, the preemption
follows, and Slurm requeues the job."""


# ---------------------------------------------------------------- submitit


def check_sbatch(machine: Machine) -> None:
    """Raise UserError that lists everything wrong with the `sbatch` section of a machine file."""
    import submitit

    general = submitit.AutoExecutor._valid_parameters()
    special = {f"slurm_{name}" for name in submitit.SlurmExecutor._valid_parameters()}
    valid = (general | special | EXECUTOR_SETTINGS.keys()) - DERIVED_SETTINGS.keys()
    problems = []
    for name in machine.sbatch:
        if name in DERIVED_SETTINGS:
            problems.append(f"{name} follows from {DERIVED_SETTINGS[name]}: leave it out")
        elif name not in valid:
            problems.append(f"{name}: {suggest(name, valid, 'submitit setting')}")
    processes = processes_per_job(machine)
    if "processes" in machine.model_fields_set and machine.processes != processes:
        problems.append(
            f"processes: {machine.processes} contradicts nodes x tasks_per_node, which make "
            f"{processes} processes a job: leave processes out"
        )
    if problems:
        raise UserError(
            "\n  ".join([f"sbatch in the machine file: {len(problems)} problems", *problems])
        )


def processes_per_job(machine: Machine) -> int:
    """Return how many processes train a job together: nodes x tasks per node."""
    return sbatch_number(machine, NODE_SETTINGS) * sbatch_number(machine, TASK_SETTINGS)


def sbatch_number(machine: Machine, names: Sequence[str]) -> int:
    """Return the first value in `sbatch` under one of several names; 1 if there is none."""
    values = [machine.sbatch[name] for name in names if name in machine.sbatch]
    # submitit reports values that are no numbers.
    return next((value for value in values if isinstance(value, int)), 1)


def single_process_machine(machine: Machine) -> Machine:
    """Return the machine with one process a job: one node, one task, a task's share of its GPUs."""
    if processes_per_job(machine) == 1:
        return machine
    sbatch = {
        name: value
        for name, value in machine.sbatch.items()
        if name not in (*NODE_SETTINGS, *TASK_SETTINGS)
    }
    if "gpus_per_node" in sbatch:
        tasks = sbatch_number(machine, TASK_SETTINGS)
        sbatch["gpus_per_node"] = -(-sbatch["gpus_per_node"] // tasks)
    return machine.model_copy(update={"sbatch": sbatch})


def make_executor(
    machine: Machine, folder: Path, name: str, parallel: int, dependency: str = ""
) -> Any:  # noqa: ANN401  (submitit has no types)
    """Return submitit's executor for a machine; its jobs write their logs to ``folder``.

    Raises UserError if the machine file's settings are wrong or submitit refuses them.
    """
    import submitit

    check_sbatch(machine)
    constructor_settings = {**EXECUTOR_SETTINGS, **machine.sbatch}
    settings = {k: v for k, v in machine.sbatch.items() if k not in EXECUTOR_SETTINGS}
    if machine.launcher == "slurm":
        python = constructor_settings["slurm_python"] or shlex.quote(sys.executable)
        constructor_settings["slurm_python"] = f"{IGNORE_USR2} {python}"
        settings = slurm_settings(settings, parallel, dependency)
    with translate_submission_errors():
        executor = submitit.AutoExecutor(
            folder=folder,
            cluster="slurm" if machine.launcher == "slurm" else "local",
            **{name: constructor_settings[name] for name in EXECUTOR_SETTINGS},
        )
        executor.update_parameters(**{"name": name, "stderr_to_stdout": True, **settings})
    return executor


def slurm_settings(settings: Mapping[str, Any], parallel: int, dependency: str) -> dict[str, Any]:
    """Return a machine file's settings with those that every job array needs."""
    result = dict(settings)
    # The job may start in a folder from which `benchmark` cannot be imported.
    result["slurm_setup"] = [
        f'export PYTHONPATH={shlex.quote(str(ROOT))}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        *settings.get("slurm_setup", []),
    ]
    result["slurm_additional_parameters"] = {
        "requeue": True,
        **settings.get("slurm_additional_parameters", {}),
    }
    if "cpus_per_task" in settings:  # since Slurm 22.05 srun does not inherit it from sbatch
        result.setdefault("slurm_srun_args", [f"--cpus-per-task={settings['cpus_per_task']}"])
    # Without this, the other tasks would wait for ever for a task that has failed.
    result["slurm_srun_args"] = [*result.get("slurm_srun_args", []), "--kill-on-bad-exit=1"]
    if dependency:
        result["slurm_dependency"] = dependency
    return {**result, "slurm_array_parallelism": parallel}


@contextlib.contextmanager
def translate_submission_errors() -> Iterator[None]:
    """Raise errors of submitit and sbatch as UserError."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    errors = (RuntimeError, NameError, TypeError, ValueError, AssertionError, FailedJobError)
    try:
        yield
    except (*errors, FailedSubmissionError) as error:
        raise UserError(f"the job could not be submitted: {error}") from error


@contextlib.contextmanager
def without_job_environment() -> Iterator[None]:
    """Hide the variables of the Slurm job that we may run in from sbatch; keep SLURM_CONF."""
    from submitit.helpers import clean_env

    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield


# ---------------------------------------------------------------- waves and arrays


def check_submission(machine: Machine, results: Path) -> None:
    """Raise UserError for what can be known to fail before anything is queued."""
    check_slurm()
    check_log_path(results.resolve())
    make_executor(machine, results / "jobs" / "submitit", "kd-suite", 1)


def submit_unfinished(
    suite: str, digest: str, runs: Mapping[str, Run], machine: Machine, paths: Paths, device: str
) -> Submission:
    """Submit every run that is not done, running or queued, and return what was submitted.

    Raises UserError if Slurm does not answer or refuses. Arrays that it accepted before that stay
    in the queue and are recorded.
    """
    store = Store(paths.results)
    check_submission(machine, paths.results)
    with submission_lock(store.root):
        tasks = tasks_by_run(store.root, runs)
        queue = query_queue(task for run_tasks in tasks.values() for task in run_tasks)
        if queue is None:
            raise UserError(
                "squeue does not answer, so it is unknown which jobs are queued already; "
                "nothing was submitted"
            )
        statuses = statuses_with_queue(runs, store, tasks, queue)
        todo = [
            run
            for run_id, run in runs.items()
            if statuses[run_id].status not in ("done", "running", "queued")
        ]
        live = {
            run_id: {array_id(task) for task in run_tasks if task.id in queue}
            for run_id, run_tasks in tasks.items()
        }
        for run in todo:
            store.run(run.id).write_config(run.as_json())
        return SuiteSubmitter(suite, digest, machine, paths, device, live).submit(todo)


class SuiteSubmitter:
    """Submits runs array by array and keeps the submission file up to date."""

    def __init__(
        self,
        suite: str,
        digest: str,
        machine: Machine,
        paths: Paths,
        device: str,
        arrays: dict[str, set[str]],
    ) -> None:
        self.machine, self.device = machine, device
        self.paths = Paths(paths.results.resolve(), paths.data.resolve(), paths.plugins)
        self.arrays = arrays
        """The ids of the arrays in the queue that do a run, by run id."""
        now = datetime.now(UTC)
        self.stem = f"{now:%Y%m%d-%H%M%S.%f}-{suite}"
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        self.submission = Submission(suite, digest, who, now.isoformat(timespec="seconds"))

    def submit(self, runs: Sequence[Run]) -> Submission:
        """Submit runs wave by wave; each array is recorded as soon as Slurm has accepted it."""
        assert self.machine.workers != "auto"
        workers, largest = self.machine.workers, self.machine.largest
        limit = max_array_size() if runs else 1
        waited_for = needed_ids(runs)
        for wave in split_into_waves(runs, workers, largest, queued=True):
            cohorts = [
                split_into_cohorts(group, waited_for, workers, largest)
                for group in self.split_by_resources(wave)
            ]
            parts = [made[i : i + limit] for made in cohorts for i in range(0, len(made), limit)]
            for part in parts:
                self.submit_array(part, max(1, workers // len(parts)))
        return self.submission

    def split_by_resources(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Split a wave by the resources of its jobs: a probe always runs as a single process."""
        if processes_per_job(self.machine) == 1:
            return [list(runs)]
        probes: list[Run] = [run for run in runs if isinstance(run, ProbeRun)]
        others: list[Run] = [run for run in runs if not isinstance(run, ProbeRun)]
        return [group for group in (others, probes) if group]

    def submit_array(self, cohorts: Sequence[Sequence[Run]], parallel: int) -> None:
        """Submit one array that starts when the arrays with the runs that it needs have ended."""
        folder, results = self.paths.results / "jobs", self.paths.results
        probes = isinstance(cohorts[0][0], ProbeRun)
        machine = single_process_machine(self.machine) if probes else self.machine
        name, dependency = f"kd-{self.submission.suite}", self.dependency(cohorts)
        executor = make_executor(machine, folder / "submitit", name, parallel, dependency)
        if "slurm_comment" not in machine.sbatch:
            executor.update_parameters(slurm_comment=self.stem)
        count = len(self.submission.tasks)
        files = [folder / f"{self.stem}-{count + i}.json" for i in range(len(cohorts))]
        for path, cohort in zip(files, cohorts, strict=True):
            self.make_job(cohort).write(path)
        record = results / "submissions" / f"{self.stem}.json"
        self.submission.write(record)  # there is room for it, and it may be written there
        known = {array_id(task) for task in self.submission.tasks}
        with deferred_interrupts(), cancelling_unrecorded(self.stem, known):
            with translate_submission_errors(), without_job_environment(), executor.batch():
                jobs = [executor.submit(SlurmTask(path)) for path in files]
            for job, path, cohort in zip(jobs, files, cohorts, strict=True):
                file, log = (os.path.relpath(name, results) for name in (path, job.paths.stdout))
                task = ArrayTask(job.job_id, file, log, [run.id for run in cohort])
                self.submission.tasks.append(task)
                for run_id in task.runs:
                    self.arrays[run_id] = {array_id(task)}
            self.submission.write(record)

    def dependency(self, cohorts: Sequence[Sequence[Run]]) -> str:
        """Return Slurm's dependency on the arrays that do what the cohorts need; may be empty."""
        needs = {need.id for cohort in cohorts for run in cohort for need in run.needs}
        arrays = sorted(set().union(*(self.arrays.get(need, set()) for need in needs)), key=int)
        return f"afterany:{':'.join(arrays)}" if arrays else ""

    def make_job(self, cohort: Sequence[Run]) -> Job:
        results, data, plugins = self.paths
        ids = [run.id for run in cohort]
        digest = self.submission.digest
        return Job(ids, str(results), str(data), self.device, list(plugins), digest)
