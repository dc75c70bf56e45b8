"""The rows and columns that a suite selects for its tables, their order and display names."""

from collections.abc import Sequence
from dataclasses import replace

from benchmark.config.errors import UserError, suggest
from benchmark.store.manifest import Manifest, ManifestColumn, NameSelection


def chosen_rows(grid: Manifest) -> dict[str, str]:
    """Return the display name of each selected method, by method, in table order.

    Raises UserError: `table.rows` names a method that the suite does not have.
    """
    return _select_names(grid.table.rows, grid.methods, "table.rows")


def chosen_columns(grid: Manifest) -> dict[int, ManifestColumn]:
    """Return the selected columns by their index in the manifest, in table order.

    Raises UserError: `table.pairs` or `table.datasets` names what the suite does not have.
    """
    pair_names = _select_names(
        grid.table.pairs, [column.pair for column in grid.columns], "table.pairs"
    )
    dataset_names = _select_names(
        grid.table.datasets, [column.dataset for column in grid.columns], "table.datasets"
    )
    return {
        index: _with_display_names(column, dataset_names[dataset], pair_names[pair])
        for pair in pair_names
        for dataset in dataset_names
        for index, column in enumerate(grid.columns)
        if (column.pair, column.dataset) == (pair, dataset)
    }


def _select_names(
    selection: NameSelection, available: Sequence[str], setting: str
) -> dict[str, str]:
    if selection is None:
        return {name: name for name in available}
    names = selection if isinstance(selection, dict) else {name: name for name in selection}
    for name in names:
        if name not in available:
            raise UserError(f"{setting}: {suggest(name, list(available), 'name')}")
    return names


def _with_display_names(column: ManifestColumn, dataset: str, pair: str) -> ManifestColumn:
    unchanged = (dataset, pair) == (column.dataset, column.pair)
    return column if unchanged else replace(column, display_names=(dataset, pair))
