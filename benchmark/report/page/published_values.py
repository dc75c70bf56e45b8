"""The published accuracies of the page's cells, which the page shows next to the measured ones."""

from typing import Any

from benchmark.report.results.outcomes import Results
from benchmark.report.results.published import (
    PublishedResults,
    PublishedValue,
    load_published,
    match_published,
)
from benchmark.report.tables.cells import Table

PublishedByCell = dict[tuple[str, int], list[dict[str, Any]]]
"""By row name and column index in the table."""


def published_by_cell(results: Results, table: Table) -> PublishedByCell:
    """Return the published values of each cell that has any, in the order of the CSV files."""
    published = load_published()
    table_index = {index: i for i, index in enumerate(table.column_indices)}
    return {
        (row, table_index[index]): [_published_entry(value, published) for value in values]
        for (index, row), values in match_published(results.manifest, published).items()
        if index in table_index
    }


def _published_entry(value: PublishedValue, published: PublishedResults) -> dict[str, Any]:
    source = published.sources[value.source]
    return {
        "top1": value.top1,
        "std": value.std,
        "n": published.n(value),
        "epoch": published.epoch(value),
        "source": source.key,
        "title": source.title,
        "where": source.where,
        "status": value.status,
        "note": value.note,
    }
