"""The verbs about a suite: `run`, `plan`, `status` and `cancel`."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmark.cli.console import DONE, SOME_FAILED, make_console, print_lines
from benchmark.cli.inputs import job_paths, open_suite, read_machine, suite_arguments
from benchmark.cli.progress import ProgressDisplay
from benchmark.cli.reports import print_failures, write_report
from benchmark.config.errors import UserError
from benchmark.config.runs import ImportedTeacher, Run
from benchmark.launch.local import Launcher, prepare_devices, run_all
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.slurm_submit import check_submission, submit_unfinished
from benchmark.launch.status import (
    RunStatus,
    describe_progress,
    folder_statuses,
    follow_runs,
    plan_lines,
    query_statuses,
    summary_lines,
)
from benchmark.processes.interrupts import ENDING_SIGNALS, ending_signals
from benchmark.suite.suite import Suite


def run(options: argparse.Namespace) -> int:
    """Train the runs that are not done yet, then write tables and plots."""
    machine = read_machine(options)
    suite = open_suite(options)
    chosen = suite.select(options.only)
    check_imported_teachers(suite, chosen)
    check_plugins_are_unchanged(suite)
    finished = set(suite.store.states(chosen).values()) == {"done"}
    console = make_console()
    if finished:
        console.print(f"{suite.name}: all {len(chosen)} runs are done, nothing is left to do.")
    elif machine.launcher == "slurm":
        run_on_cluster(suite, chosen, machine, job_paths(suite, options), options.wait, console)
        if not options.wait:
            for verb in ("status", "cancel"):
                command = shlex.join(["python", sys.argv[0], verb, *suite_arguments(options)])
                console.print(f"{verb}: {command}", soft_wrap=True, highlight=False)
            return DONE
    else:
        with ending_signals(*ENDING_SIGNALS):  # all stop the jobs, as Ctrl-C does
            run_on_this_machine(suite, chosen, machine, job_paths(suite, options), console)
    suite.store.tidy(chosen)
    write_report(suite, console)
    print_failures(suite, chosen, console)
    all_done = set(suite.store.states(chosen).values()) == {"done"}
    return DONE if all_done else SOME_FAILED


def plan(options: argparse.Namespace) -> int:
    """List the runs by status and, with `--machine`, estimate what `run` would do there."""
    machine = read_machine(options) if options.machine else None
    suite, console = open_suite(options), make_console()
    chosen = suite.select(options.only)
    statuses = folder_statuses(chosen, suite.store)
    selects = partial(suite.selects, options.only)
    print_lines(plan_lines(suite.manifest, statuses, selects), console)
    if machine is not None:
        from benchmark.estimate.forecast import forecast

        console.print(f"\non the machine {options.machine}:", highlight=False)
        for line in forecast(chosen, machine, job_paths(suite, options), options.timing):
            print_lines([line], console)
    return DONE


def status(options: argparse.Namespace) -> int:
    """Print how many runs are done or not, the epoch of those that run, and why others failed."""
    suite, console = open_suite(options, needs_code=False), make_console()
    runs = suite.select("")
    statuses = query_statuses(runs, suite.store)
    display = ProgressDisplay(suite.manifest, list(runs), suite.store, console)
    display.print({run_id: run.status for run_id, run in statuses.items()})
    lines = [*unfinished_lines(suite, statuses)]
    if not options.all:
        lines = summary_lines(suite.manifest, statuses, lines)
    if lines:
        print_lines(lines, console)
    lost = any(run.status == "lost" for run in statuses.values())
    return SOME_FAILED if print_failures(suite, runs, console) or lost else DONE


def unfinished_lines(suite: Suite, statuses: Mapping[str, RunStatus]) -> Iterator[str]:
    """Yield a line for each run that is not done and has not failed."""
    for run_id, (status, detail) in statuses.items():
        if status == "running":
            detail = describe_progress(suite.store.run(run_id))
        if status not in ("done", "failed"):
            yield f"{status}: {run_id}" + f": {detail}" * bool(detail)


def cancel(options: argparse.Namespace) -> int:
    """Stop a suite's jobs, in the queue and on this machine; finished epochs are kept."""
    from benchmark.launch.cancel import cancel_suite

    suite, console = open_suite(options, needs_code=False), make_console()
    manifest = suite.manifest
    cancelled = cancel_suite(suite.results, suite.name, manifest["digest"], manifest["runs"])
    for kind, numbers in (
        ("job arrays in the queue", cancelled.arrays),
        ("processes on this machine", cancelled.processes),
    ):
        if numbers:
            listed = " ".join(map(str, numbers))
            console.print(f"{suite.name}: cancelled {kind}: {listed}", soft_wrap=True)
    if not any(cancelled):
        console.print(f"{suite.name}: no job is queued or running", soft_wrap=True)
    return DONE


def check_imported_teachers(suite: Suite, runs: Mapping[str, Run]) -> None:
    """Raise UserError if a run needs a teacher that has to be imported first."""
    for need in (need for run in runs.values() for need in run.needs):
        if isinstance(need, ImportedTeacher) and suite.store.run(need.id).state() != "done":
            raise UserError(
                f"the teacher {need.id} is not in {suite.results}. Import it first: python "
                f"run_all.py teachers import FILE --as {need.student} --dataset {need.dataset}"
            )


def check_plugins_are_unchanged(suite: Suite) -> None:
    """Raise UserError if a finished run of the suite is of another version of a plug-in's file."""
    files = [Path(file) for file in suite.plugins]
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    for run_id in suite.manifest["runs"] if files else ():
        folder = suite.store.run(run_id)
        try:
            trained_with = folder.load_record().plugins if folder.state() == "done" else {}
        except UserError:
            continue  # its record is damaged, which the report says
        for name, sha256 in trained_with.items():
            if hashes.get(name, sha256) != sha256:
                raise UserError(
                    f"the plug-in {name} has changed since {run_id} was trained. Raise the "
                    "`version` of its method, which starts new runs; or undo the change; or "
                    f"remove {folder.path} to train it again."
                )


def run_on_this_machine(
    suite: Suite, runs: Mapping[str, Run], machine: Machine, paths: Paths, console: Console
) -> None:
    """Train a suite's runs in jobs of this machine and show their progress."""
    devices = prepare_devices(machine, sorted({r.dataset.name for r in runs.values()}), paths.data)
    launcher = Launcher(machine, paths, devices, suite.manifest["digest"])
    with ProgressDisplay(suite.manifest, list(runs), suite.store, console) as display:
        run_all(runs, suite.store, launcher, display.update)


def run_on_cluster(
    suite: Suite,
    runs: Mapping[str, Run],
    machine: Machine,
    paths: Paths,
    wait: bool,
    console: Console,
) -> None:
    """Submit a suite's unfinished runs; with ``wait``, show their progress until all have ended."""
    check_submission(machine, paths.results)  # before images are downloaded
    [device] = prepare_devices(machine, sorted({r.dataset.name for r in runs.values()}), paths.data)
    digest = suite.manifest["digest"]
    submission = submit_unfinished(suite.name, digest, runs, machine, paths, device)
    tasks = submission.tasks
    count = sum(len(task.runs) for task in tasks)
    console.print(f"{suite.name}: {count} runs submitted in {len(tasks)} jobs", soft_wrap=True)
    if wait:
        try:
            with ProgressDisplay(suite.manifest, list(runs), suite.store, console) as display:
                follow_runs(runs, suite.store, display.update)
        except KeyboardInterrupt:
            console.print("The jobs stay in the queue; `cancel` ends them.")
            raise
