"""From a suite's manifest and the records of its runs to tables and plots; needs no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report.material import Material
from benchmark.report.results.outcomes import Results
from benchmark.report.results.reading import load
from benchmark.report.tables.cells import Table, tabulate
from benchmark.store.atomic import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.report.tables.published_columns import Beside

SHOWN = ("", "over-pairs")  # on a terminal: the table itself and what is said over all pairs

__all__ = [
    "Material",
    "Results",
    "Table",
    "load",
    "pictures",
    "show",
    "tables",
    "tabulate",
    "write",
]


def show(material: Material, console: "Console") -> None:
    """Print the suite's tables. Raises UserError for a damaged record."""
    from benchmark.report.tables import terminal
    from benchmark.report.tables.all_tables import layouts

    for layout in layouts(material.table):
        if layout.name in SHOWN:
            terminal.show(layout, console)


def write(material: Material) -> list[Path]:
    """Write tables and, once a student is done, plots below `results`; return their paths.

    Files are replaced whole; unchanged records give unchanged bytes. Raises UserError for a
    damaged record, OSError where the system refuses a file.
    """
    folder, found = material.results / "tables", tables(material.outcome, material.table)
    files = {folder / name: text.encode() for name, text in found.items()}
    if material.outcome.any_done():
        files |= pictures(material.outcome, material.results / "plots")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return list(files)


def tables(outcome: Results, table: Table) -> dict[str, str]:
    """Every file of tables by its name: the sidecar last, for it names the others."""
    from benchmark.report.tables import csv_files, latex, markdown, published_columns, sidecar
    from benchmark.report.tables.all_tables import layouts

    published = _published(outcome, table)
    every = [*layouts(table), *([published_columns.lay_out_beside(published)] if published else [])]
    files = {f"{table.suite}.md": "\n".join(map(markdown.render, every))}
    files |= {
        f"{'-'.join(filter(None, (table.suite, layout.name)))}.tex": latex.render(layout)
        for layout in every
    }
    files[f"{table.suite}.csv"] = csv_files.render(table)
    files[f"{table.suite}-runs.csv"] = csv_files.render_runs(table)
    if published is not None:
        files[f"{table.suite}-published.csv"] = published_columns.render_csv(published)
    return files | {f"{table.suite}.json": sidecar.render(outcome, table, list(files))}


def _published(outcome: Results, table: Table) -> "Beside | None":
    from benchmark.report.results.published import library, match
    from benchmark.report.tables.published_columns import beside

    known = library()
    return beside(outcome, table, known, match(outcome.manifest, known))


def pictures(outcome: Results, folder: Path) -> dict[Path, bytes]:
    """Every plot by its path; those that would have nothing to say are left out."""
    from benchmark.report import plots  # matplotlib and seaborn take seconds to import

    return {
        folder / f"{outcome.manifest.suite}-{name}.{kind}": plots.encode(figure, kind)
        for name, figure in plots.figures(outcome)
        for kind in plots.KINDS
    }
