"""What a command says when it is done: reports that are written, runs that failed."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.follow import Writer
    from benchmark.planned import Planned
    from benchmark.transfer import Run


def writers_of(options: argparse.Namespace, refresh: int | None = None) -> list[Writer]:
    """Return what writes the report's parts that are asked for by a flag each."""
    writers: list[Writer] = []
    if options.html:
        from benchmark.report import page

        writers.append(functools.partial(page.write, refresh=refresh))
    if options.tensorboard:
        from benchmark.report import events

        writers.append(events.write)
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
    from benchmark.cluster import logs_of

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


def tell(lines: Iterable[str], console: Console) -> None:
    """Print lines as they are; of ten thousand at once, rich needs a tenth of the time."""
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def make_console() -> Console:
    """Standard output: as wide as a terminal, or as a log likes it."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)
