"""A report that is kept up to date while a grid runs."""

import time
from collections import Counter
from datetime import datetime

from rich.console import Console

from benchmark import report
from benchmark.plan import statuses
from benchmark.planned import Planned
from benchmark.report import page

EVERY = 10  # seconds between looks, and between a page's looks at itself
SELDOM = 60.0  # seconds after which the report says again how far runs are
WAITING = {"ready", "running"}


def follow(suite: Planned, html: bool, console: Console, every: float = EVERY) -> None:
    """Write the report whenever a run begins or ends; return when none runs or can be begun."""
    runs, seen, written = suite.select(""), None, 0.0
    while True:
        found = statuses(runs, suite.store)
        counts = Counter(found.values())
        if not WAITING & counts.keys():
            return
        if found != seen:
            tally = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
            console.print(f"{datetime.now():%H:%M:%S}  {suite.name}: {tally}", soft_wrap=True)
        if found != seen or ("running" in counts and time.monotonic() - written > SELDOM):
            seen, written = found, time.monotonic()
            report.write(suite.manifest, suite.results / "runs", suite.results)
            if html:
                page.write(suite.manifest, suite.results / "runs", suite.results, refresh=EVERY)
        time.sleep(every)
