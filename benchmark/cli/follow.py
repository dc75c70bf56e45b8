"""A report that is kept up to date while a grid runs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmark import report
from benchmark.launch.status import statuses
from benchmark.suite.suite import Planned

Writer = Callable[[report.Material], Path]
"""Makes a part of the report."""

EVERY = 10  # seconds between looks, and between a page's looks at itself
SELDOM = 60.0  # seconds after which the report says again how far runs are
WAITING = {"ready", "running"}


def follow(suite: Planned, also: Sequence[Writer], console: Console, every: float = EVERY) -> None:
    """Write the report, and what `also` writes, whenever a run begins or ends, and now and then.

    Returns when no run is under way or can be begun.
    """
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
            material = report.Material(suite.manifest, suite.store.root / "runs", suite.results)
            report.write(material)
            for write in also:
                write(material)
        time.sleep(every)
