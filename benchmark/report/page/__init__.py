"""One page to read: a suite's table, its curves and all its runs in a single HTML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.files import write_atomic
from benchmark.report.page.content import Sources, content
from benchmark.report.page.document import render
from benchmark.report.reading import load
from benchmark.report.table import tabulate

__all__ = ["write"]


def write(
    manifest: Mapping[str, Any], runs: Path, results: Path, refresh: int | None = None
) -> Path:
    """Write `results`/tables/SUITE.html and return its path.

    With `refresh` the page loads itself anew every so many seconds, for a grid that still runs.
    Unchanged records give unchanged bytes. Raises UserError for a damaged record.
    """
    outcome = load(manifest, runs)
    path = results / "tables" / f"{outcome.manifest.suite}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = Sources(manifest.get("runs", {}), runs, path.parent)
    write_atomic(path, render(content(outcome, tabulate(outcome), sources), refresh).encode())
    return path
