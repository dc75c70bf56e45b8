"""Runs to a cluster's queue: waves by dependency, arrays of cohorts, through submitit."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.config.errors import UserError, suggest
from benchmark.config.runs import ProbeRun, Run, needs_of
from benchmark.job.file import Job
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import cohorts, waves
from benchmark.launch.slurm_queue import Task, array_of, ask, told
from benchmark.launch.slurm_task import Call
from benchmark.launch.status import standings
from benchmark.launch.submissions import Submission, my_turn, tasks_of
from benchmark.processes.contract import ROOT
from benchmark.store.folder import Store

GIVEN = {"slurm_array_parallelism": "workers", "slurm_dependency": "the order of the runs"}
"""Of submitit's names those that are not the machine file's to say, and where they come from."""
OF_THE_EXECUTOR = {"slurm_python": None, "slurm_max_num_timeout": 100}
"""Of submitit's names those that its executor is made with; a time-out is nothing unusual to us."""
NODES = ("nodes", "slurm_nodes")
TASKS_PER_NODE = ("tasks_per_node", "slurm_tasks_per_node", "slurm_ntasks_per_node")
DEAF_AT_FIRST = """sh -c 'trap "" USR2; exec "$0" "$@"'"""
"""A warning before submitit listens would kill the job, for good. One that is not heard is followed
by the end itself, after which Slurm queues a preempted job again."""


# ---------------------------------------------------------------- submitit


def check_sbatch(machine: Machine) -> None:
    """Raise UserError that says all that is wrong with the names in a machine file's sbatch."""
    import submitit

    general = submitit.AutoExecutor._valid_parameters()
    special = {f"slurm_{name}" for name in submitit.SlurmExecutor._valid_parameters()}
    valid = (general | special | OF_THE_EXECUTOR.keys()) - GIVEN.keys()
    problems = []
    for name in machine.sbatch:
        if name in GIVEN:
            problems.append(f"{name} follows from {GIVEN[name]}: leave it out")
        elif name not in valid:
            problems.append(suggest(name, valid, "name of submitit's"))
    made = processes_of(machine)
    if "processes" in machine.model_fields_set and machine.processes != made:
        problems.append(
            f"nodes x tasks_per_node make {made} processes a job, and processes: "
            f"{machine.processes} says another number: leave it out"
        )
    if problems:
        raise UserError(
            "\n  ".join([f"sbatch in the machine file: {len(problems)} problems", *problems])
        )


def processes_of(machine: Machine) -> int:
    """Return how many processes train a job together: nodes x tasks per node."""
    return said(machine, NODES) * said(machine, TASKS_PER_NODE)


def said(machine: Machine, names: Sequence[str]) -> int:
    """Return what sbatch says under one of several names; one where it does not."""
    values = [machine.sbatch[name] for name in names if name in machine.sbatch]
    # What is no number submitit refuses, in its own words.
    return next((value for value in values if isinstance(value, int)), 1)


def alone(machine: Machine) -> Machine:
    """Return a machine for jobs of one process: one task's share of a node's GPUs."""
    if processes_of(machine) == 1:
        return machine
    sbatch = {k: v for k, v in machine.sbatch.items() if k not in (*NODES, *TASKS_PER_NODE)}
    if "gpus_per_node" in sbatch:
        sbatch["gpus_per_node"] = -(-sbatch["gpus_per_node"] // said(machine, TASKS_PER_NODE))
    return machine.model_copy(update={"sbatch": sbatch})


def executor_of(machine: Machine, folder: Path, name: str, parallel: int, after: str = "") -> Any:  # noqa: ANN401
    """Return submitit's executor for a machine. Raises UserError where its settings are refused."""
    import submitit

    check_sbatch(machine)
    made_with = {**OF_THE_EXECUTOR, **machine.sbatch}
    if machine.launcher == "slurm":
        python = made_with["slurm_python"] or shlex.quote(sys.executable)
        made_with["slurm_python"] = f"{DEAF_AT_FIRST} {python}"
    settings = {k: v for k, v in machine.sbatch.items() if k not in OF_THE_EXECUTOR}
    if machine.launcher == "slurm":
        settings = for_slurm(settings, parallel, after)
    with refusals():
        executor = submitit.AutoExecutor(
            folder=folder,
            cluster="slurm" if machine.launcher == "slurm" else "local",
            **{name: made_with[name] for name in OF_THE_EXECUTOR},
        )
        executor.update_parameters(**{"name": name, "stderr_to_stdout": True, **settings})
    return executor


def for_slurm(settings: Mapping[str, Any], parallel: int, after: str) -> dict[str, Any]:
    """Add what every array of ours needs to what the machine file says."""
    found = dict(settings)
    # The job may start in a folder where `benchmark` cannot be imported.
    found["slurm_setup"] = [
        f'export PYTHONPATH="{ROOT}${{PYTHONPATH:+:$PYTHONPATH}}"',
        *settings.get("slurm_setup", []),
    ]
    found["slurm_additional_parameters"] = {
        "requeue": True,
        **settings.get("slurm_additional_parameters", {}),
    }
    if "cpus_per_task" in settings:  # srun does not hear of it by itself, from Slurm 22.05 on
        found.setdefault("slurm_srun_args", [f"--cpus-per-task={settings['cpus_per_task']}"])
    # Else the other tasks of one that has failed would be waited for, which wait for that one.
    found["slurm_srun_args"] = [*found.get("slurm_srun_args", []), "--kill-on-bad-exit=1"]
    if after:
        found["slurm_dependency"] = after
    return {**found, "slurm_array_parallelism": parallel}


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what submitit and sbatch complain of into a ``UserError``."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    refused = (RuntimeError, NameError, TypeError, ValueError, AssertionError, FailedJobError)
    try:
        yield
    except (*refused, FailedSubmissionError) as error:
        raise UserError(f"the job could not be submitted: {error}") from error


@contextlib.contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide the job that we may be in from sbatch, but not which Slurm it is."""
    from submitit.helpers import clean_env

    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield


# ---------------------------------------------------------------- waves and arrays


def submit_open(
    suite: str, digest: str, runs: Mapping[str, Run], machine: Machine, paths: Paths, device: str
) -> Submission:
    """Queue every run that is not done, not running and not queued already.

    Raises UserError where the cluster is not there or refuses; what it took before is noted.
    """
    store = Store(paths.results)
    executor_of(
        machine, paths.results / "jobs" / "submitit", suite, 1
    )  # wrong settings, said first
    with my_turn(store.root):
        tasks = tasks_of(store.root, runs)
        queue = ask(task for several in tasks.values() for task in several)
        if queue is None:
            raise UserError("squeue does not answer, so what is queued already cannot be known")
        found = standings(runs, store, tasks, queue)
        todo = [
            run for k, run in runs.items() if found[k].status not in ("done", "running", "queued")
        ]
        live = {
            run_id: {array_of(task) for task in several if task.id in queue}
            for run_id, several in tasks.items()
        }
        for run in todo:
            store.run(run.id).write_config(run.as_json())
        return Submitting(suite, digest, machine, paths, device, live).submit(todo)


class Submitting:
    """One submission under way: which runs are in which arrays, and the file that says so."""

    def __init__(
        self,
        suite: str,
        digest: str,
        machine: Machine,
        paths: Paths,
        device: str,
        live: dict[str, set[str]],
    ) -> None:
        self.machine, self.device = machine, device
        self.paths = Paths(paths.results.resolve(), paths.data.resolve(), paths.plugins)
        self.arrays = live
        now = datetime.now(UTC)
        self.stem = f"{now:%Y%m%d-%H%M%S.%f}-{suite}"
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        self.note = Submission(suite, digest, who, now.isoformat(timespec="seconds"))

    def submit(self, runs: Sequence[Run]) -> Submission:
        """Submit wave by wave; each array is noted as soon as it is in the queue."""
        assert self.machine.workers != "auto"
        workers = self.machine.workers
        limit = largest_array() if runs else 1
        waited_for, largest = needs_of(runs), self.machine.largest
        for wave in waves(runs, workers, largest, queued=True):
            kinds = [cohorts(some, waited_for, workers, largest) for some in self.by_machine(wave)]
            parts = [made[i : i + limit] for made in kinds for i in range(0, len(made), limit)]
            for part in parts:
                self.array(part, max(1, workers // len(parts)))
        return self.note

    def by_machine(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Part runs that may start at once by what their jobs ask for: a probe takes one task."""
        if processes_of(self.machine) == 1:
            return [list(runs)]
        probes: list[Run] = [run for run in runs if isinstance(run, ProbeRun)]
        others: list[Run] = [run for run in runs if not isinstance(run, ProbeRun)]
        return [some for some in (others, probes) if some]

    def array(self, made: Sequence[Sequence[Run]], parallel: int) -> None:
        """Queue one array, to start when the arrays with what it needs have ended."""
        needs = {need.id for cohort in made for run in cohort for need in run.needs}
        before = sorted(set().union(*(self.arrays.get(need, set()) for need in needs)), key=int)
        after = f"afterany:{':'.join(before)}" if before else ""
        folder, results = self.paths.results / "jobs", self.paths.results
        machine = alone(self.machine) if isinstance(made[0][0], ProbeRun) else self.machine
        executor = executor_of(
            machine, folder / "submitit", f"kd-{self.note.suite}", parallel, after
        )
        count = len(self.note.tasks)
        files = [folder / f"{self.stem}-{count + i}.json" for i in range(len(made))]
        for path, cohort in zip(files, made, strict=True):
            self.job(cohort).write(path)
        with refusals(), outside_of_jobs(), executor.batch():
            jobs = [executor.submit(Call(path)) for path in files]
        for job, path, cohort in zip(jobs, files, made, strict=True):
            log, ids = Path(job.paths.stdout), [run.id for run in cohort]
            task = Task(
                job.job_id, str(path.relative_to(results)), str(log.relative_to(results)), ids
            )
            self.note.tasks.append(task)
            for run_id in ids:
                self.arrays[run_id] = {array_of(task)}
        self.note.write(results / "submissions" / f"{self.stem}.json")

    def job(self, cohort: Sequence[Run]) -> Job:
        """Return what one task is to do."""
        results, data, plugins = self.paths
        ids = [run.id for run in cohort]
        return Job(ids, str(results), str(data), self.device, list(plugins))


def largest_array() -> int:
    """Return how many tasks the cluster takes in one array."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told("scontrol", "show", "config") or "", re.M)
    if found is None:
        raise UserError("the jobs could not be submitted: scontrol does not tell MaxArraySize")
    return max(1, int(found[1]))
