"""The commands about a suite: `run`, `plan`, `status` and `cancel`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping

from rich.console import Console

from benchmark.cli.console import DONE, SOME_FAILED, make_console, tell
from benchmark.cli.inputs import asked, machine_of, open_suite, paths_of
from benchmark.cli.progress import Watch
from benchmark.cli.reports import tell_failures, write_report
from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.launch.local import Launcher, prepare, run_all
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.slurm_submit import submit_open
from benchmark.launch.status import follow
from benchmark.suite.suite import Planned


def run(options: argparse.Namespace) -> int:
    """Train what is not done yet, then write the tables and plots."""
    machine = machine_of(options)
    suite = open_suite(options)
    chosen = suite.select(options.only)
    refuse_absent_teachers(suite, chosen)
    open_runs = {k: r for k, r in chosen.items() if suite.store.run(k).state() != "done"}
    console = make_console()
    if not open_runs:
        console.print(f"{suite.name}: all {len(chosen)} runs are done, nothing is left to do.")
    elif machine.launcher == "slurm":
        run_on_cluster(suite, chosen, machine, paths_of(suite, options), options.wait, console)
        if not options.wait:
            for verb in ("status", "cancel"):
                again = shlex.join(["python", sys.argv[0], verb, *asked(options)])
                console.print(f"{verb}: {again}", soft_wrap=True, highlight=False)
            return DONE
    else:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C: jobs are not orphaned
        run_here(suite, chosen, machine, paths_of(suite, options), console)
    suite.store.tidy(chosen)
    write_report(suite, console)
    tell_failures(suite, chosen, console)
    all_done = set(suite.store.states(chosen).values()) == {"done"}
    return DONE if all_done else SOME_FAILED


def plan(options: argparse.Namespace) -> int:
    """Say what is done, what is to do and what cannot be, and what a machine would make of it."""
    from benchmark.launch.status import outline, statuses

    machine = machine_of(options) if options.machine else None
    suite, console = open_suite(options), make_console()
    chosen = suite.select(options.only)
    tell(outline(suite.manifest, statuses(chosen, suite.store)), console)
    if machine is not None:
        from benchmark.estimate.forecast import forecast

        console.print(f"\non {options.machine}:", highlight=False)
        where = paths_of(suite, options)
        for line in forecast(chosen, machine, where, options.calibrate):
            tell([line], console)
    return DONE


def status(options: argparse.Namespace) -> int:
    """Show where every run stands: in the queue, in which epoch, and why the failed ones failed."""
    from benchmark.cli.progress import Watch
    from benchmark.launch.status import look, progress

    suite, console = open_suite(options), make_console()
    runs = suite.select("")
    found = look(runs, suite.store)
    watch = Watch(suite.manifest, list(runs), suite.store, console)
    watch.print({run_id: standing.status for run_id, standing in found.items()})
    lines = []
    for run_id, (status, detail) in found.items():
        if status == "running":
            detail = progress(suite.store.run(run_id))
        if status not in ("done", "failed"):
            lines.append(f"{status}: {run_id}" + f": {detail}" * bool(detail))
    if lines:
        tell(lines, console)
    lost = any(standing.status == "lost" for standing in found.values())
    return SOME_FAILED if tell_failures(suite, runs, console) or lost else DONE


def cancel(options: argparse.Namespace) -> int:
    """Stop a suite's jobs, in the queue and on this machine; finished epochs are kept."""
    from benchmark.launch import cancel

    suite, console = open_suite(options, needs_code=False), make_console()
    stopped = cancel.cancel(suite.results, suite.name, suite.manifest["runs"])
    for words, numbers in (("in the queue", stopped.arrays), ("here", stopped.processes)):
        if numbers:
            listed = " ".join(map(str, numbers))
            console.print(f"{suite.name}: cancelled {words}: {listed}", soft_wrap=True)
    if not any(stopped):
        console.print(f"{suite.name}: no job of it is queued or running", soft_wrap=True)
    return DONE


def refuse_absent_teachers(suite: Planned, runs: dict[str, Run]) -> None:
    """Raise UserError where a teacher from elsewhere has not been brought in."""
    from benchmark.config.runs import Imported

    for need in (need for run in runs.values() for need in run.needs):
        if isinstance(need, Imported) and suite.store.run(need.id).state() != "done":
            raise UserError(
                f"the teacher {need.id} is not in {suite.results}: bring it in with "
                f"run_all.py teachers import FILE --as {need.student} "
                f"--dataset {need.dataset}"
            )


def run_here(
    suite: Planned, runs: Mapping[str, Run], machine: Machine, paths: Paths, console: Console
) -> None:
    """Do a suite's runs by jobs of this machine, and show how they stand."""
    devices = prepare(machine, sorted({run.dataset.name for run in runs.values()}), paths.data)
    launcher = Launcher(machine, paths, devices)
    with Watch(suite.manifest, list(runs), suite.store, console) as watch:
        run_all(runs, suite.store, launcher, watch.show)


def run_on_cluster(
    suite: Planned,
    runs: Mapping[str, Run],
    machine: Machine,
    paths: Paths,
    wait: bool,
    console: Console,
) -> None:
    """Queue a suite's open runs; where asked to wait, show how they stand until all have ended."""
    [device] = prepare(machine, sorted({run.dataset.name for run in runs.values()}), paths.data)
    note = submit_open(suite.name, suite.manifest["digest"], runs, machine, paths, device)
    count = sum(len(task.runs) for task in note.tasks)
    console.print(f"{suite.name}: {count} runs submitted in {len(note.tasks)} jobs", soft_wrap=True)
    if wait:
        try:
            with Watch(suite.manifest, list(runs), suite.store, console) as watch:
                follow(runs, suite.store, watch.show)
        except KeyboardInterrupt:
            console.print("The jobs stay in the queue; `cancel` ends them.")
            raise
