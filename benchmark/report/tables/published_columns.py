"""Published numbers beside measured ones, each in columns of its own."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.report.results.outcomes import Results
from benchmark.report.results.published import At, Library, Value
from benchmark.report.tables.cells import Cell, Row, Table, printed
from benchmark.report.tables.layout import Entry, Grid, Layout, letter, name, number, pair, plus

UNKNOWN = "?"
FIELDS = [
    *("suite", "dataset", "teacher", "student", "row"),
    *("measured_mean", "measured_std", "measured_n", "measured_epoch"),
    *("published", "published_std", "published_n", "published_epoch", "status"),
    *("difference", "difference_in_stds", "source", "note"),
]


class Head(NamedTuple):
    """What the numbers of one column have in common."""

    title: str
    n: int | None
    epoch: str


@dataclass(frozen=True)
class Beside:
    """A table with what is published of its cells."""

    table: Table
    measure: str
    seeds: int
    known: Library
    matches: Mapping[At, Sequence[Value]]

    def of(self, row: Row, place: int) -> Sequence[Value]:
        """What is published of the cell in this row and column of the table."""
        what = "teacher" if row.role == "teacher" else row.name
        return self.matches.get((self.table.places[place], what), ())

    def head(self, value: Value) -> Head:
        """The column that a number belongs in."""
        source = self.known.sources[value.source]
        return Head(source.title, self.known.n(value), self.known.epoch(value))


def beside(
    results: Results, table: Table, known: Library, matches: Mapping[At, list[Value]]
) -> Beside | None:
    """A table with its published numbers; None where nothing is published of what it shows."""
    made = Beside(table, results.manifest.measure, len(results.manifest.seeds), known, matches)
    return made if any(heads(made, place) for place in range(len(table.columns))) else None


def heads(made: Beside, place: int) -> list[Head]:
    """The published columns beside one measured; who only copied has none but in the CSV."""
    values = [value for row in made.table.students for value in made.of(row, place)]
    return list(dict.fromkeys(made.head(v) for v in values if v.status != "copied"))


def standing(made: Beside, row: Row, place: int) -> dict[Head, Value]:
    """The published numbers of a cell by their columns; a teacher is in all of its source's."""
    values = made.of(row, place)
    if row.role == "student":
        return {made.head(value): value for value in values}
    by_title = {made.head(value).title: value for value in values}
    return {h: by_title[h.title] for h in heads(made, place) if h.title in by_title}


def difference(cell: Cell, value: Value) -> tuple[float, float | None] | None:
    """Measured minus published, in points and in our standard deviations.

    None while the cell is incomplete, and to a number that is unverified or of something else.
    """
    if not cell.complete or cell.mean is None or value.status in ("unverified", "differs"):
        return None
    points = cell.mean - value.top1
    return points, points / cell.std if cell.std else None


def lay_out_beside(made: Beside) -> Layout:
    """Methods by pairs: what was measured, and beside it a column a source."""
    table = made.table
    shown = [place for place in range(len(table.columns)) if heads(made, place)]
    rows = [row for row in table.rows if any(standing(made, row, place) for place in shown)]
    notes = list(table.notes)
    blocks = [tuple(_block(made, row, shown, notes)) for row in rows]
    columns, groups = [("teacher", "student", "", "")], []
    several = len({table.columns[place].dataset for place in shown}) > 1
    for place in shown:
        found = heads(made, place)
        above = pair(table.columns[place], several)
        columns.append((*above, "measured", f"n {made.seeds}, last"))
        columns += [("", "", h.title, f"n {h.n or UNKNOWN}, {h.epoch}") for h in found]
        groups.append(1 + len(found))
    return Layout(
        table.suite,
        "published",
        f"{table.title}: published beside measured",
        Grid(tuple(columns), tuple(blocks)),
        _caption(made, shown),
        tuple(notes),
        tuple(groups),
        sum(row.role == "teacher" for row in rows),
    )


def render_csv(made: Beside) -> str:
    """One line a published number of a cell, all sources and copies too; unrounded."""
    table = made.table
    lines: list[tuple[object, ...]] = []
    for place, column in enumerate(table.columns):
        for row in table.rows:
            where = (table.suite, column.dataset, column.teacher, column.student, row.name)
            cell = row.cells[place]
            ours = (cell.mean, cell.std, cell.n, "last")
            lines += [(*where, *ours, *_line(made, cell, value)) for value in made.of(row, place)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([FIELDS, *lines])
    return out.getvalue()


def _line(made: Beside, cell: Cell, value: Value) -> tuple[object, ...]:
    head, where = made.head(value), made.known.sources[value.source].where
    theirs = (value.top1, value.std, head.n, head.epoch, value.status)
    return (*theirs, *(difference(cell, value) or (None, None)), where, value.note)


def _block(
    made: Beside, row: Row, shown: Sequence[int], notes: list[str]
) -> Iterator[tuple[Entry, ...]]:
    """A line of numbers and, once there are some, one of differences below it."""
    first, below = [name(row)], [Entry("")]
    for place in shown:
        cell = row.cells[place]
        first.append(number(cell, count=True))
        below.append(Entry(""))
        values = standing(made, row, place)
        for head in heads(made, place):
            value = values.get(head)
            first.append(_published(value, notes) if value else Entry(""))
            found = difference(cell, value) if value else None
            below.append(Entry(_told(*found) if found else ""))
    yield tuple(first)
    if any(entry.text for entry in below):
        yield (Entry("measured - published"), *below[1:])


def _published(value: Value, notes: list[str]) -> Entry:
    """A number with the footnote that says what is the matter with it."""
    told = ": ".join(filter(None, (value.status, value.note)))
    if told and told not in notes:
        notes.append(told)
    spread = "" if value.std is None else f" ± {printed(value.std)}"
    return Entry(printed(value.top1) + spread, marks=letter(notes.index(told)) if told else "")


def _told(points: float, stds: float | None) -> str:
    return plus(points) if stds is None else f"{plus(points)} ({abs(stds):.1f} s)"


def _caption(made: Beside, shown: Sequence[int]) -> str:
    rows = made.table.rows
    values = [v for row in rows for place in shown for v in standing(made, row, place).values()]
    keys = dict.fromkeys(value.source for value in values if value.status != "copied")
    sources = dict.fromkeys(
        f"{made.known.sources[key].title}: {made.known.sources[key].where}" for key in keys
    )
    return (
        f"{made.measure.capitalize()} (%). Measured: mean ± sample standard deviation after the "
        f"last epoch; k/{made.seeds}: only k of {made.seeds} seeds are done. Published: as the "
        "source has it, with the number of runs n (? where it does not say) and the epoch that "
        "it reports. Below: measured minus published in points, and in standard deviations s of "
        "ours; not where a cell is incomplete or the published number is unverified or of "
        "something else. "
        f"Sources: {'; '.join(sources)}."
    )
