"""The HTML page of a suite: its tables, curves and all of its runs in a single file.

Read `content.py` first: it collects everything that the page shows as JSON. `html.py` embeds it,
the style (`page.css`) and the scripts (`*.js`, in the order of `html.SCRIPTS`) in `page.html`.
"""

from pathlib import Path

from benchmark.report.page.content import PageSources, page_content
from benchmark.report.page.html import render
from benchmark.report.report_data import ReportData
from benchmark.store.atomic import write_atomic

__all__ = ["write"]


def write(data: ReportData, refresh: int | None = None) -> Path:
    """Write `tables/SUITE.html` below the results folder and return its path.

    With `refresh`, the page reloads itself after so many seconds; this is for a grid that is still
    running. Unchanged records give the same bytes.

    Raises UserError: a record is damaged.
    """
    path = data.results_folder / "tables" / f"{data.results.manifest.suite}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = PageSources(data.manifest.get("runs", {}), data.runs_folder, path.parent)
    write_atomic(path, render(page_content(data.results, data.table, sources), refresh).encode())
    return path
