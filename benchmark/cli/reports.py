"""The verb `report`, and what other verbs print when runs have ended."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark.cli.console import DONE, make_console
from benchmark.cli.follow import ReportWriter
from benchmark.cli.inputs import open_suite
from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.store.folder import RunFolder
from benchmark.suite.suite import Suite


def report(options: argparse.Namespace) -> int:
    """Write tables, plots and what else the flags ask for, from the records there are."""
    # Before anything else: a missing optional dependency must not be found after hours of --watch.
    extra_writers = optional_writers(options)
    suite, console = open_suite(options, needs_code=False), make_console()
    try:
        if options.watch:
            from benchmark.cli.follow import REFRESH_SECONDS, keep_report_updated

            keep_report_updated(suite, optional_writers(options, REFRESH_SECONDS), console)
    finally:  # after Ctrl-C too: the last HTML page must not reload itself any more
        write_report(suite, console, extra_writers)
    return DONE


def optional_writers(options: argparse.Namespace, refresh: int | None = None) -> list[ReportWriter]:
    """Return a writer for each of `--html` and `--tensorboard` that is given.

    The HTML page reloads itself every ``refresh`` seconds.
    """
    writers: list[ReportWriter] = []
    if options.html:
        from benchmark.report import page

        writers.append(functools.partial(page.write, refresh=refresh))
    if options.tensorboard:
        from benchmark.report import tensorboard

        writers.append(tensorboard.write)
    return writers


def write_report(
    suite: Suite, console: Console, extra_writers: Sequence[ReportWriter] = ()
) -> None:
    """Write all files of the report, then print the main table and their paths."""
    from benchmark import report

    material = report.ReportData(suite.manifest, suite.results / "runs", suite.results)
    paths = [
        *report.write_tables_and_plots(material),
        *(write(material) for write in extra_writers),
    ]
    report.print_tables(material, console)
    for path in paths:
        short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        console.print(f"wrote {short}", highlight=False, soft_wrap=True)


def print_failures(suite: Suite, runs: dict[str, Run], console: Console) -> bool:
    """Print each failed run with its reason and its log; return whether there is any."""
    from benchmark.launch.logs import newest_logs

    failures = [
        (run_id, failure_message(suite.store.run(run_id)))
        for run_id, state in suite.store.states(runs).items()
        if state == "failed"
    ]
    logs = newest_logs(suite.results) if failures else {}
    for run_id, message in failures:
        text = f"failed: {run_id}: {message}"
        if run_id in logs and "its log is" not in text:
            text += f"; its log is {logs[run_id]}"
        console.print(text, style="red", highlight=False, soft_wrap=True)
    if failures:
        console.print("The next `run` tries failed runs again.", highlight=False)
    return bool(failures)


def failure_message(folder: RunFolder) -> str:
    """Return why a run has failed; for a damaged file, what is wrong with it."""
    try:
        return folder.load_failure().message
    except UserError as error:
        return str(error)
