"""One page to read: a suite's table, its curves and all its runs in a single HTML file."""

from pathlib import Path

from benchmark.report.material import Material
from benchmark.report.page.content import Sources, content
from benchmark.report.page.html import render
from benchmark.store.atomic import write_atomic

__all__ = ["write"]


def write(material: Material, refresh: int | None = None) -> Path:
    """Write tables/SUITE.html below `results` and return its path.

    With `refresh` the page loads itself anew every so many seconds, for a grid that still runs.
    Unchanged records give unchanged bytes. Raises UserError for a damaged record.
    """
    outcome = material.outcome
    path = material.results / "tables" / f"{outcome.manifest.suite}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = Sources(material.manifest.get("runs", {}), material.runs, path.parent)
    write_atomic(path, render(content(outcome, material.table, sources), refresh).encode())
    return path
