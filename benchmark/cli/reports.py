"""The command `report`, and what other commands print when runs have ended."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark.cli.console import DONE, make_console
from benchmark.cli.follow import Writer
from benchmark.cli.inputs import open_suite
from benchmark.config.runs import Run
from benchmark.suite.suite import Planned


def report(options: argparse.Namespace) -> int:
    """Write tables, plots and what else is asked for from the records there are."""
    also = writers_of(options)  # first: one may be missing, and a watch lasts hours
    suite, console = open_suite(options, needs_code=False), make_console()
    try:
        if options.watch:
            from benchmark.cli.follow import EVERY, follow

            follow(suite, writers_of(options, refresh=EVERY), console)
    finally:  # after Ctrl-C too: a page that nobody writes any more must not wait for news
        write_report(suite, console, also)
    return DONE


def writers_of(options: argparse.Namespace, refresh: int | None = None) -> list[Writer]:
    """Return what writes the report's parts that are asked for by a flag each."""
    writers: list[Writer] = []
    if options.html:
        from benchmark.report import page

        writers.append(functools.partial(page.write, refresh=refresh))
    if options.tensorboard:
        from benchmark.report import tensorboard

        writers.append(tensorboard.write)
    return writers


def write_report(suite: Planned, console: Console, also: Sequence[Writer] = ()) -> None:
    """Print the table, write all files, and those of `also`, and name them."""
    from benchmark import report

    material = report.Material(suite.manifest, suite.results / "runs", suite.results)
    report.show(material, console)
    paths = [*report.write(material), *(write(material) for write in also)]
    for path in paths:
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        console.print(f"wrote {shown}", highlight=False, soft_wrap=True)


def tell_failures(suite: Planned, runs: dict[str, Run], console: Console) -> bool:
    """Say which runs failed, why and where the log is; return whether any did."""
    from benchmark.launch.logs import logs_of

    failures = [
        (run_id, suite.store.run(run_id).read_failure())
        for run_id, state in suite.store.states(runs).items()
        if state == "failed"
    ]
    logs = logs_of(suite.results) if failures else {}
    for run_id, failure in failures:
        text = f"failed: {run_id}: {failure['message']}"
        if run_id in logs and "its log is" not in text:
            text += f"; its log is {logs[run_id]}"
        console.print(text, style="red", highlight=False, soft_wrap=True)
    if failures:
        console.print("Failed runs are tried again the next time.", highlight=False)
    return bool(failures)
