"""Which rows and columns of a grid its tables show, in which order and under which names."""

from collections.abc import Sequence
from dataclasses import replace

from benchmark.config.errors import UserError, suggest
from benchmark.report.results.outcomes import Column, Manifest, Names


def chosen_rows(grid: Manifest) -> dict[str, str]:
    """The rows in their order: method to the name that is shown."""
    return _chosen(grid.table.rows, grid.methods, "table.rows")


def chosen_columns(grid: Manifest) -> dict[int, Column]:
    """The columns in their order, by their places in the grid."""
    pairs = _chosen(grid.table.pairs, [column.pair for column in grid.columns], "table.pairs")
    headings = [column.dataset for column in grid.columns]
    datasets = _chosen(grid.table.datasets, headings, "table.datasets")
    return {
        place: _named(column, datasets[dataset], pairs[pair])
        for pair in pairs
        for dataset in datasets
        for place, column in enumerate(grid.columns)
        if (column.pair, column.dataset) == (pair, dataset)
    }


def _chosen(names: Names, there: Sequence[str], where: str) -> dict[str, str]:
    if names is None:
        return {name: name for name in there}
    asked = names if isinstance(names, dict) else {name: name for name in names}
    for name in asked:
        if name not in there:
            raise UserError(f"{where}: {suggest(name, list(there), 'name')}")
    return asked


def _named(column: Column, dataset: str, pair: str) -> Column:
    same = (dataset, pair) == (column.dataset, column.pair)
    return column if same else replace(column, shown=(dataset, pair))
