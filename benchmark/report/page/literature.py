"""What papers print of the page's cells: beside the measured numbers, never among them."""

from typing import Any

from benchmark.report.results.outcomes import Results
from benchmark.report.results.published import Library, Value, library, match
from benchmark.report.tables.cells import Table

Published = dict[tuple[str, int], list[dict[str, Any]]]


def literature(results: Results, table: Table) -> Published:
    """Published values by row and by column of the table, in their sources' order."""
    known = library()
    places = {column: place for place, column in enumerate(table.places)}
    return {
        (row, places[column]): [_told(value, known) for value in values]
        for (column, row), values in match(results.manifest, known).items()
        if column in places
    }


def _told(value: Value, known: Library) -> dict[str, Any]:
    source = known.sources[value.source]
    return {
        "top1": value.top1,
        "std": value.std,
        "n": known.n(value),
        "epoch": known.epoch(value),
        "source": source.key,
        "title": source.title,
        "where": source.where,
        "status": value.status,
        "note": value.note,
    }
