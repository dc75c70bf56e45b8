"""From a suite's manifest and the records of its runs to tables and plots; needs no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.files import write_atomic
from benchmark.report.records import Results, load
from benchmark.report.table import Table, tabulate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Results", "Table", "load", "show", "tabulate", "write"]


def show(manifest: Mapping[str, Any], runs: Path, console: "Console") -> None:
    """Print the suite's table. Raises UserError for a damaged record."""
    from benchmark.report import terminal

    terminal.show(tabulate(load(manifest, runs)), console)


def write(manifest: Mapping[str, Any], runs: Path, results: Path) -> list[Path]:
    """Write `results`/tables and, once a student is done, `results`/plots; returns their paths.

    Files are replaced whole; unchanged records give unchanged bytes. Raises UserError for a
    damaged record, OSError where the system refuses a file.
    """
    from benchmark.report import latex, longform, markdown

    outcome = load(manifest, runs)
    table = tabulate(outcome)
    files = {
        results / "tables" / f"{table.suite}.md": markdown.render(table).encode(),
        results / "tables" / f"{table.suite}.tex": latex.render(table).encode(),
        results / "tables" / f"{table.suite}.csv": longform.render(table).encode(),
    }
    if outcome.any_done():
        files |= _pictures(outcome, results / "plots")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return list(files)


def _pictures(outcome: Results, folder: Path) -> dict[Path, bytes]:
    from benchmark.report import plots  # matplotlib and seaborn take seconds to import

    suite = outcome.manifest.suite
    figures = {"accuracy": plots.accuracy(outcome), "curves": plots.curves(outcome)}
    return {
        folder / f"{suite}-{name}.{kind}": plots.encode(figure, kind)
        for name, figure in figures.items()
        for kind in plots.KINDS
    }
