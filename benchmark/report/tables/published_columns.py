"""The table and CSV file of published accuracies next to the measured ones."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.report.results.outcomes import Results
from benchmark.report.results.published import PublishedKey, PublishedResults, PublishedValue
from benchmark.report.tables.cells import Table, TableCell, TableRow, format_percent
from benchmark.report.tables.csv_files import without_formula
from benchmark.report.tables.layout import (
    FormattedCell,
    TableLayout,
    TextGrid,
    footnote_letter,
    format_cell,
    format_row_name,
    format_signed,
    pair_heading,
)

UNKNOWN = "?"
"""Written for a number of runs that the source does not state."""
CSV_FIELDS = [
    *("suite", "dataset", "teacher", "student", "row"),
    *("measured_mean", "measured_std", "measured_n", "measured_epoch"),
    *("published", "published_std", "published_n", "published_epoch", "status"),
    *("difference", "difference_in_stds", "source", "note"),
]


class SourceHead(NamedTuple):
    """The head of a column of published values: what its values have in common."""

    title: str
    n: int | None
    """How many runs each value is the mean of; None if unknown."""
    epoch: str


@dataclass(frozen=True)
class PublishedComparison:
    """A table and the published values of its cells."""

    table: Table
    measure: str
    """`Manifest.measure`."""
    seeds: int
    """The number of seeds of the suite."""
    published: PublishedResults
    matches: Mapping[PublishedKey, Sequence[PublishedValue]]

    def values_of(self, row: TableRow, index: int) -> Sequence[PublishedValue]:
        """Return the published values of a cell, given its row and the index of its column."""
        name = "teacher" if row.role == "teacher" else row.name
        return self.matches.get((self.table.column_indices[index], name), ())

    def head_of(self, value: PublishedValue) -> SourceHead:
        """Return the head of the column that a value belongs to."""
        source = self.published.sources[value.source]
        return SourceHead(source.title, self.published.n(value), self.published.epoch(value))


def compare_with_published(
    results: Results,
    table: Table,
    published: PublishedResults,
    matches: Mapping[PublishedKey, list[PublishedValue]],
) -> PublishedComparison | None:
    """Return the table with its published values; None if no student cell has any.

    Values that a paper copied from another one do not count.
    """
    comparison = PublishedComparison(
        table, results.manifest.measure, len(results.manifest.seeds), published, matches
    )
    indices = range(len(table.columns))
    return comparison if any(published_heads(comparison, index) for index in indices) else None


def published_heads(comparison: PublishedComparison, index: int) -> list[SourceHead]:
    """Return the published columns of one pair, given the index of its column.

    A source has a column if it has a value of a student that it did not copy from another paper.
    Copied values are only in the CSV file.
    """
    students = comparison.table.students
    values = [value for row in students for value in comparison.values_of(row, index)]
    return list(dict.fromkeys(comparison.head_of(v) for v in values if v.status != "copied"))


def values_by_head(
    comparison: PublishedComparison, row: TableRow, index: int
) -> dict[SourceHead, PublishedValue]:
    """Return the published values of a cell by their columns.

    A teacher's value is in every column that has the title of its source.
    """
    values = comparison.values_of(row, index)
    if row.role == "student":
        return {comparison.head_of(value): value for value in values}
    by_title = {comparison.head_of(value).title: value for value in values}
    heads = published_heads(comparison, index)
    return {head: by_title[head.title] for head in heads if head.title in by_title}


def measured_minus_published(
    cell: TableCell, value: PublishedValue
) -> tuple[float, float | None] | None:
    """Return the difference in percentage points, and in standard deviations of the cell.

    The result is None if the cell is incomplete, or if the published value is unverified or of
    something else. The second number is None if the cell has no standard deviation or one of zero.
    """
    if not cell.complete or cell.mean is None or value.status in ("unverified", "differs"):
        return None
    points = cell.mean - value.top1
    return points, points / cell.std if cell.std else None


def layout_published(comparison: PublishedComparison) -> TableLayout:
    """Return methods by pairs: for each pair the measured accuracy, then a column a source."""
    table = comparison.table
    indices = [i for i in range(len(table.columns)) if published_heads(comparison, i)]
    rows = [row for row in table.rows if any(values_by_head(comparison, row, i) for i in indices)]
    notes = list(table.notes)
    blocks = [tuple(_row_block(comparison, row, indices, notes)) for row in rows]
    heads, groups = [("teacher", "student", "", "")], []
    with_dataset = len({table.columns[index].dataset for index in indices}) > 1
    for index in indices:
        sources = published_heads(comparison, index)
        pair = pair_heading(table.columns[index], with_dataset)
        heads.append((*pair, "measured", f"n {comparison.seeds}, last"))
        heads += [("", "", h.title, f"n {h.n or UNKNOWN}, {h.epoch}") for h in sources]
        groups.append(1 + len(sources))
    return TableLayout(
        table.suite,
        "published",
        f"{table.title}: published beside measured",
        TextGrid(tuple(heads), tuple(blocks)),
        _caption(comparison, indices),
        tuple(notes),
        tuple(groups),
        teacher_blocks=sum(row.role == "teacher" for row in rows),
    )


def render_csv(comparison: PublishedComparison) -> str:
    """Return one line for each published value of a cell, copied ones included; unrounded."""
    table = comparison.table
    lines: list[tuple[object, ...]] = []
    for index, column in enumerate(table.columns):
        for row in table.rows:
            names = (table.suite, column.dataset, column.teacher, column.student, row.name)
            cell = row.cells[index]
            measured = (cell.mean, cell.std, cell.n, "last")
            lines += [
                (*names, *measured, *_csv_columns(comparison, cell, value))
                for value in comparison.values_of(row, index)
            ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [CSV_FIELDS, *(map(without_formula, line) for line in lines)]
    )
    return out.getvalue()


def _csv_columns(
    comparison: PublishedComparison, cell: TableCell, value: PublishedValue
) -> tuple[object, ...]:
    head, where = comparison.head_of(value), comparison.published.sources[value.source].where
    published = (value.top1, value.std, head.n, head.epoch, value.status)
    difference = measured_minus_published(cell, value) or (None, None)
    return (*published, *difference, where, value.note)


def _row_block(
    comparison: PublishedComparison, row: TableRow, indices: Sequence[int], notes: list[str]
) -> Iterator[tuple[FormattedCell, ...]]:
    """Yield a line of accuracies and, if there are differences, a line of these.

    Footnotes of published values that are not in `notes` yet are appended to it.
    """
    accuracies, differences = [format_row_name(row)], [FormattedCell("")]
    for index in indices:
        cell = row.cells[index]
        accuracies.append(format_cell(cell, count=True))
        differences.append(FormattedCell(""))
        values = values_by_head(comparison, row, index)
        for head in published_heads(comparison, index):
            value = values.get(head)
            accuracies.append(_format_published(value, notes) if value else FormattedCell(""))
            difference = measured_minus_published(cell, value) if value else None
            text = _format_measured_minus_published(*difference) if difference else ""
            differences.append(FormattedCell(text))
    yield tuple(accuracies)
    if any(cell.text for cell in differences):
        yield (FormattedCell("measured - published"), *differences[1:])


def _format_published(value: PublishedValue, notes: list[str]) -> FormattedCell:
    """Return a published value, with a footnote of its status and note if it has any."""
    note = ": ".join(filter(None, (value.status, value.note)))
    if note and note not in notes:
        notes.append(note)
    std = "" if value.std is None else f" ± {format_percent(value.std)}"
    return FormattedCell(
        format_percent(value.top1) + std,
        marks=footnote_letter(notes.index(note)) if note else "",
    )


def _format_measured_minus_published(points: float, stds: float | None) -> str:
    return format_signed(points) if stds is None else f"{format_signed(points)} ({abs(stds):.1f} s)"


def _caption(comparison: PublishedComparison, indices: Sequence[int]) -> str:
    measure, seeds = comparison.measure.capitalize(), comparison.seeds
    values = [
        value
        for row in comparison.table.rows
        for index in indices
        for value in values_by_head(comparison, row, index).values()
    ]
    keys = dict.fromkeys(value.source for value in values if value.status != "copied")
    sources = (comparison.published.sources[key] for key in keys)
    places = dict.fromkeys(f"{source.title}: {source.where}" for source in sources)
    return (
        f"{measure} (%). Measured: mean ± sample standard deviation after the last epoch; "
        f"k/{seeds}: only k of {seeds} seeds are done. Published: as the "
        "source has it, with the number of runs n (? where it does not say) and the epoch that "
        "it reports. Below: measured minus published in points, and in standard deviations s of "
        "ours; not where a cell is incomplete or the published number is unverified or of "
        "something else. "
        f"Sources: {'; '.join(places)}."
    )
