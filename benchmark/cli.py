"""The command line: which suite, where, and what to do with it; never what a method is.

Nothing here imports torch before there is something to train: `--help` answers at once, and a
finished suite, its status and its report need only the manifest that planning left behind.
"""

from __future__ import annotations

import argparse
import gc
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.files import explain
from benchmark.options import ROOT, options_of
from benchmark.screen import make_console, tell, tell_failures, write_report, writers_of

if TYPE_CHECKING:
    from benchmark.machine import Machine, Paths
    from benchmark.planned import Planned
    from benchmark.transfer import Run

DONE, SOME_FAILED, USERS_MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    options = parse(arguments)
    gc.set_threshold(100_000, 20, 20)  # ten thousand runs are many objects, and no garbage
    try:
        return VERBS[options.verb](options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USERS_MISTAKE
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return USERS_MISTAKE
    except KeyboardInterrupt:
        again = shlex.join(["python", sys.argv[0], *arguments])
        print(f"\ninterrupted; finished epochs are kept. To go on: {again}", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Without a verb, the verb is run."""
    return options_of(arguments, DESCRIPTIONS)


# ---------------------------------------------------------------- the verbs


def run(options: argparse.Namespace) -> int:
    """Train what is not done yet, then write the tables and plots."""
    from benchmark.launch import run_here, run_on_cluster

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


def paths_of(suite: Planned, options: argparse.Namespace) -> Paths:
    """Return where jobs find things."""
    from benchmark.machine import Paths

    return Paths(options.results, options.data_root, tuple(suite.manifest.get("plugins", ())))


def plan(options: argparse.Namespace) -> int:
    """Say what is done, what is to do and what cannot be, and what a machine would make of it."""
    from benchmark.plan import outline, statuses

    machine = machine_of(options) if options.machine else None
    suite, console = open_suite(options), make_console()
    chosen = suite.select(options.only)
    tell(outline(suite.manifest, statuses(chosen, suite.store)), console)
    if machine is not None:
        from benchmark.forecast import forecast

        console.print(f"\non {options.machine}:", highlight=False)
        where = paths_of(suite, options)
        for line in forecast(chosen, machine, where, options.calibrate):
            tell([line], console)
    return DONE


def status(options: argparse.Namespace) -> int:
    """Show where every run stands: in the queue, in which epoch, and why the failed ones failed."""
    from benchmark import cluster
    from benchmark.watch import Watch

    suite, console = open_suite(options), make_console()
    runs = suite.select("")
    found = cluster.look(runs, suite.store)
    watch = Watch(suite.manifest, list(runs), suite.store, console)
    watch.print({run_id: standing.status for run_id, standing in found.items()})
    lines = []
    for run_id, (status, detail) in found.items():
        if status == "running":
            detail = cluster.progress(suite.store.run(run_id))
        if status not in ("done", "failed"):
            lines.append(f"{status}: {run_id}" + f": {detail}" * bool(detail))
    if lines:
        tell(lines, console)
    lost = any(standing.status == "lost" for standing in found.values())
    return SOME_FAILED if tell_failures(suite, runs, console) or lost else DONE


def cancel(options: argparse.Namespace) -> int:
    """Stop a suite's jobs, in the queue and on this machine; finished epochs are kept."""
    from benchmark import cluster

    suite, console = open_suite(options, needs_code=False), make_console()
    stopped = cluster.cancel(suite.results, suite.name, suite.manifest["runs"])
    for words, numbers in (("in the queue", stopped.arrays), ("here", stopped.processes)):
        if numbers:
            listed = " ".join(map(str, numbers))
            console.print(f"{suite.name}: cancelled {words}: {listed}", soft_wrap=True)
    if not any(stopped):
        console.print(f"{suite.name}: no job of it is queued or running", soft_wrap=True)
    return DONE


def logs(options: argparse.Namespace) -> int:
    """Print where a run's newest log is, and the end of it."""
    from benchmark.cluster import logs_of, run_named

    run_id = run_named(options.results, options.run)
    path = logs_of(options.results).get(run_id)
    if path is None:
        raise UserError(f"{run_id}: no job of it has written a log yet")
    lines = path.read_text(errors="replace").splitlines()
    print("\n".join([f"{run_id}: {path}", *lines[len(lines) - options.lines :]]))
    return DONE


def show(options: argparse.Namespace) -> int:
    """Say what a run was, where its numbers came from, and the command that does it again."""
    from benchmark.cluster import run_named
    from benchmark.report.account import account

    run_id = run_named(options.results, options.run)
    print("\n".join(account(run_id, options.results, ROOT / "configs")))
    return DONE


def report(options: argparse.Namespace) -> int:
    """Write tables, plots and what else is asked for from the records there are."""
    also = writers_of(options)  # first: one may be missing, and a watch lasts hours
    suite, console = open_suite(options, needs_code=False), make_console()
    try:
        if options.watch:
            from benchmark.follow import EVERY, follow

            follow(suite, writers_of(options, refresh=EVERY), console)
    finally:  # after Ctrl-C too: a page that nobody writes any more must not wait for news
        write_report(suite, console, also)
    return DONE


def methods(options: argparse.Namespace) -> int:
    """List the methods: papers, phases, what they read, parameters and presets."""
    from benchmark.catalogue import show

    show(
        options.names,
        options.pair,
        options.dataset,
        options.data_root,
        options.plugins,
        make_console(),
    )
    return DONE


def teachers(options: argparse.Namespace) -> int:
    """Take in a teacher's checkpoint from elsewhere: read safely, measured on arrival."""
    from benchmark.store import Store
    from benchmark.teachers import bring_in, tell

    folder = bring_in(
        options.file,
        options.network,
        options.dataset,
        options.published,
        Store(options.results),
        options.data_root,
    )
    tell(folder, make_console())
    return DONE


def data(options: argparse.Namespace) -> int:
    """Say which data sets there are and what they lack, or prepare some."""
    from benchmark.data.admin import administer

    administer(options.action, options.names, options.data_root, make_console())
    return DONE


def models(options: argparse.Namespace) -> int:
    """List the networks and their parameters, or show the shapes of one."""
    from benchmark.zoo import show

    show(options.names, options.shapes, options.dataset, options.data_root, make_console())
    return DONE


def speed(options: argparse.Namespace) -> int:
    """Measure the suite against the field's usual loop, and against what the device could do."""
    from benchmark.speed import cost, page, verb, work

    console = make_console()
    if options.suite is None:
        asked = verb.asked(options)
        result, path = verb.speed(asked, console), asked.into
        about, sheets = list(page.about(result)), list(page.sheets(result))
    else:
        verb.check_alone(options)
        found = verb.suite_cost(open_suite(options), options)
        about, sheets = list(page.about_device(found.facts)), [cost.sheet(found)]
        path = verb.new_file(options, f"cost-{found.suite}")
        work.write(path, page.markdown(about, sheets), found.as_json())
    page.show(about, sheets, console)
    for written in (path.with_suffix(".md"), path):
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return DONE


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "plan": plan,
    "status": status,
    "cancel": cancel,
    "logs": logs,
    "show": show,
    "report": report,
    "methods": methods,
    "teachers": teachers,
    "data": data,
    "models": models,
    "speed": speed,
}
DESCRIPTIONS = {verb: (function.__doc__ or "").splitlines()[0] for verb, function in VERBS.items()}


# ---------------------------------------------------------------- what they share


def open_suite(options: argparse.Namespace, needs_code: bool = True) -> Planned:
    """Find the suite that is asked for, as the command line changes it."""
    from benchmark.planned import Planned, find

    path = find(options.suite, ROOT / "configs")
    return Planned.open(
        path,
        options.changes,
        options.results,
        needs_code,
        options.plugins,
        data=options.data_root,
    )


def machine_of(options: argparse.Namespace) -> Machine:
    """Read the machine file that is asked for."""
    from benchmark.machine import Machine
    from benchmark.planned import find

    return Machine.read(find(options.machine, ROOT / "configs" / "machines"))


def asked(options: argparse.Namespace) -> list[str]:
    """Return the words that name this suite and its results to another verb."""
    changes = [word for change in options.changes for word in ("--set", change)]
    where = [] if options.results == ROOT / "results" else ["--results", str(options.results)]
    return [options.suite, *changes, *where]


def refuse_absent_teachers(suite: Planned, runs: dict[str, Run]) -> None:
    """Raise UserError where a teacher from elsewhere has not been brought in."""
    from benchmark.runs import Imported

    for need in (need for run in runs.values() for need in run.needs):
        if isinstance(need, Imported) and suite.store.run(need.id).state() != "done":
            raise UserError(
                f"the teacher {need.id} is not in {suite.results}: bring it in with "
                f"run_all.py teachers import FILE --as {need.student} "
                f"--dataset {need.dataset}"
            )
