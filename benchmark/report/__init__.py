"""Tables, plots and the HTML page, made from a suite's manifest and the records of its runs.

This room needs `config` and `store` only; it must never load torch.
Read `report_data.py` first, then `results/reading.py` (files to outcomes), `tables/cells.py`
(outcomes to table cells) and `tables/layout.py` (table cells to text).
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report.report_data import ReportData
from benchmark.report.results.outcomes import Results
from benchmark.report.results.reading import load_results
from benchmark.report.tables.cells import Table, tabulate
from benchmark.store.atomic import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.report.tables.published_columns import PublishedComparison

TERMINAL_TABLES = ("", "over-pairs")
"""The layouts that are printed on a terminal: the main table, and the summary over all pairs."""

__all__ = [
    "ReportData",
    "Results",
    "Table",
    "load_results",
    "print_tables",
    "render_plots",
    "render_tables",
    "tabulate",
    "write_tables_and_plots",
]


def print_tables(data: ReportData, console: "Console") -> None:
    """Print the main table and the summary over all pairs.

    Raises UserError: a record is damaged.
    """
    from benchmark.report.tables import terminal
    from benchmark.report.tables.all_tables import layout_all_tables

    for layout in layout_all_tables(data.table):
        if layout.name in TERMINAL_TABLES:
            terminal.print_layout(layout, console)


def write_tables_and_plots(data: ReportData) -> list[Path]:
    """Write `tables/` and `plots/` below the results folder and return the paths of the files.

    Plots are written only if at least one student run is done. Each file is replaced atomically.
    Plots of an earlier report of the suite that this one does not write are removed.
    Unchanged records give the same bytes.

    Raises UserError: a record is damaged. OSError: a file cannot be written.
    """
    tables_folder = data.results_folder / "tables"
    texts = render_tables(data.results, data.table)
    files = {tables_folder / name: text.encode() for name, text in texts.items()}
    plots_folder = data.results_folder / "plots"
    if data.results.any_done():
        files |= render_plots(data.results, plots_folder)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    _remove_stale_plots(plots_folder, data.results.manifest.suite, files)
    return list(files)


def render_tables(results: Results, table: Table) -> dict[str, str]:
    """Return the text of every table file by file name.

    The sidecar (`SUITE.json`) is last, because it lists the other files.
    """
    from benchmark.report.tables import csv_files, latex, markdown, published_columns, sidecar
    from benchmark.report.tables.all_tables import layout_all_tables

    published = _compare_with_published(results, table)
    layouts = list(layout_all_tables(table))
    if published:
        layouts.append(published_columns.layout_published(published))
    files = {f"{table.suite}.md": "\n".join(map(markdown.render, layouts))}
    files |= {
        f"{'-'.join(filter(None, (table.suite, layout.name)))}.tex": latex.render(layout)
        for layout in layouts
    }
    files[f"{table.suite}.csv"] = csv_files.render(table)
    files[f"{table.suite}-runs.csv"] = csv_files.render_runs(table)
    if published is not None:
        files[f"{table.suite}-published.csv"] = published_columns.render_csv(published)
    return files | {f"{table.suite}.json": sidecar.render(results, table, list(files))}


def _compare_with_published(results: Results, table: Table) -> "PublishedComparison | None":
    from benchmark.report.results.published import load_published, match_published
    from benchmark.report.tables.published_columns import compare_with_published

    published = load_published()
    matches = match_published(results.manifest, published)
    return compare_with_published(results, table, published, matches)


def render_plots(results: Results, folder: Path) -> dict[Path, bytes]:
    """Return the bytes of every plot by its path in `folder`. Plots without data are left out."""
    from benchmark.report import plots  # matplotlib and seaborn take seconds to import

    return {folder / name: content for name, content in plots.files(results)}


def _remove_stale_plots(folder: Path, suite: str, written: Collection[Path]) -> None:
    """Remove the plots of earlier reports of the suite that this report did not write."""
    earlier = set(folder.glob("*")) - set(written)
    if earlier:
        from benchmark.report import plots

        for path in earlier:
            if plots.is_plot_of(suite, path.name):
                path.unlink(missing_ok=True)
