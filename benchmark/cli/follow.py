"""`report --watch`: keep the report up to date while runs are in progress."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmark import report
from benchmark.launch.status import folder_statuses
from benchmark.suite.suite import Suite

ReportWriter = Callable[[report.ReportData], Path]
"""Writes one more file of the report and returns its path."""

REFRESH_SECONDS = 10
"""Seconds between two checks of the run folders, and between two reloads of the HTML page."""
REWRITE_SECONDS = 60.0
"""Seconds after which the report is written again although no status has changed."""
ACTIVE = {"ready", "running"}


def keep_report_updated(
    suite: Suite,
    extra_writers: Sequence[ReportWriter],
    console: Console,
    interval: float = REFRESH_SECONDS,
) -> None:
    """Write the report whenever a run starts or ends, and about once a minute in between.

    Returns when no run is running or ready to start.
    """
    runs, last_statuses, written = suite.select(""), None, 0.0
    while True:
        statuses = folder_statuses(runs, suite.store)
        counts = Counter(statuses.values())
        if not ACTIVE & counts.keys():
            return
        changed = statuses != last_statuses
        if changed:
            summary = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
            console.print(f"{datetime.now():%H:%M:%S}  {suite.name}: {summary}", soft_wrap=True)
        if changed or ("running" in counts and time.monotonic() - written > REWRITE_SECONDS):
            last_statuses, written = statuses, time.monotonic()
            material = report.ReportData(suite.manifest, suite.store.root / "runs", suite.results)
            report.write_tables_and_plots(material)
            for write in extra_writers:
                write(material)
        time.sleep(interval)
