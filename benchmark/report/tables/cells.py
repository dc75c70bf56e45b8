"""From outcomes to a table of data cells; how a cell looks on paper is the writers' business."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Literal

from benchmark.report.results.choice import chosen_columns, chosen_rows
from benchmark.report.results.outcomes import Column, Outcome, Results
from benchmark.report.results.quantities import means
from benchmark.report.statistics.analysis import (
    Analysis,
    Summary,
    analyse,
    by_seed,
    matched,
    summarise,
)
from benchmark.report.statistics.significance import Interval, Test
from benchmark.report.tables.caption import caption

__all__ = ["Cell", "Delta", "Row", "Table", "by_seed", "paired", "printed", "tabulate"]

NOTE_WIDTH = 240  # a failure's message may be a page long


@dataclass(frozen=True)
class Delta:
    """A difference in percentage points, averaged over the `n` seeds that both methods have."""

    mean: float
    n: int


@dataclass(frozen=True)
class Cell:
    """One method on one column: `n` of `wanted` seeds done; mean, std and deltas in percent."""

    outcomes: tuple[Outcome, ...]
    applicable: bool
    mean: float | None
    std: float | None
    deltas: tuple[Delta | None, ...]  # in the order of Table.references
    best: bool
    notes: tuple[int, ...]  # places in Table.notes
    second: bool = False
    interval: Interval | None = None  # of the mean; of three seeds and more
    tests: tuple[Test | None, ...] = ()  # of the deltas
    gap: float | None = None  # of the way from scratch to teacher, in percent

    @property
    def n(self) -> int:
        """How many seeds are done."""
        return len(by_seed(self.outcomes))

    @property
    def wanted(self) -> int:
        """How many seeds the suite asks for."""
        return len(self.outcomes)

    @property
    def complete(self) -> bool:
        """Whether every seed is done."""
        return self.n == self.wanted

    @cached_property
    def measured(self) -> dict[str, tuple[float, int]]:
        """What besides accuracy is measured of it: mean and number of runs that have it."""
        return means(self.outcomes)


@dataclass(frozen=True)
class Row:
    """One line of the table; the teacher's has no differences and takes no part in the best."""

    role: Literal["teacher", "student"]
    name: str
    cells: tuple[Cell, ...]
    shown: str = ""
    """What the suite calls it in tables, the name where it says nothing."""


@dataclass(frozen=True)
class Table:
    """Rows are methods, the teacher first; columns are pairs."""

    suite: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    references: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    places: tuple[int, ...] = ()  # of the columns in the manifest
    summary: Summary | None = None
    resolvable: Mapping[str, tuple[float, int] | None] | None = None  # by data set

    @property
    def students(self) -> tuple[Row, ...]:
        """The rows that compete."""
        return tuple(row for row in self.rows if row.role == "student")


def tabulate(results: Results) -> Table:
    """The table of last-epoch test top-1 that `results` make, as the suite wants it shown.

    Raises UserError where the suite's `table` chooses what is not in its grid.
    """
    grid = results.manifest
    analysis = analyse(results)
    names, columns = chosen_rows(grid), chosen_columns(grid)
    made = [_column(results, place, list(names), analysis) for place in columns]
    notes = tuple(dict.fromkeys(note for column in made for cell in column for note in _says(cell)))
    taught = any(column.teacher_run for column in grid.columns)
    rows = tuple(
        Row(
            "student" if line else "teacher",
            name,
            tuple(_noted(column[line], notes) for column in made),
            names.get(name, name),
        )
        for line, name in enumerate(("teacher", *names))
        if line or taught
    )
    cells = [cell for row in rows for cell in row.cells]
    complete = all(cell.complete or not cell.applicable for cell in cells)
    shown = tuple(columns.values())
    return Table(
        grid.suite,
        grid.title,
        caption(grid, shown, analysis, complete),
        shown,
        analysis.references,
        rows,
        notes,
        tuple(columns),
        summarise(results, analysis),
        analysis.resolvable,
    )


def printed(percent: float) -> str:
    """A percentage as tables show it; ties are ties at this precision."""
    return f"{percent:.2f}"


def paired(ours: Iterable[Outcome], theirs: Iterable[Outcome]) -> Delta | None:
    """Ours minus theirs, seed by seed, over the seeds that both have."""
    return _delta(*matched(by_seed(ours), by_seed(theirs)))


def _delta(ours: Iterable[float], theirs: Iterable[float]) -> Delta | None:
    differences = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return Delta(fmean(differences), len(differences)) if differences else None


def _column(results: Results, place: int, names: list[str], analysis: Analysis) -> list[Cell]:
    """The cells of one pair from top to bottom, the teacher's first, the best two marked."""
    none = (None,) * len(analysis.references)
    cells = [_student(results, place, name, analysis) for name in names]
    whole = [printed(cell.mean) for cell in cells if cell.complete and cell.mean is not None]
    first, second = [*sorted(set(whole), key=float, reverse=True), None, None][:2]
    marked = [_ranked(cell, first, second) for cell in cells]
    return [_cell((results.teachers[place],), none), *marked]


def _ranked(cell: Cell, first: str | None, second: str | None) -> Cell:
    mean = printed(cell.mean) if cell.complete and cell.mean is not None else ""
    return replace(cell, best=mean == first, second=mean == second)


def _student(results: Results, place: int, name: str, analysis: Analysis) -> Cell:
    # A method's difference to itself says nothing, so there is none.
    keys = [(place, name, other) for other in analysis.references]
    deltas = tuple(_delta(*analysis.pairs.get(key, ((), ()))) for key in keys)
    return replace(
        _cell(results.students[place, name], deltas),
        interval=analysis.intervals[place, name],
        tests=tuple(analysis.tests.get(key) for key in keys),
        gap=analysis.gaps[place, name],
    )


def _cell(outcomes: tuple[Outcome, ...], deltas: tuple[Delta | None, ...]) -> Cell:
    values = list(by_seed(outcomes).values())
    return Cell(
        outcomes=outcomes,
        applicable=any(outcome.state != "not applicable" for outcome in outcomes),
        mean=fmean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        deltas=deltas,
        best=False,
        notes=(),
        tests=(None,) * len(deltas),
    )


def _says(cell: Cell) -> list[str]:
    """The footnotes of a cell: each failure once, with its seeds, a larger network, a reason."""
    failures: dict[str, list[str]] = {}
    for outcome in cell.outcomes:
        if outcome.failure is not None:
            failures.setdefault(outcome.failure, []).append(str(outcome.seed))
    notes = [
        (f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} " if seeds != ["None"] else "")
        + f"failed: {failure}"
        for failure, seeds in failures.items()
    ]
    sizes = dict.fromkeys(o.record.cost for o in cell.outcomes if o.record is not None)
    notes += [
        f"deploys {size.deployed_parameters:,} parameters, the student has {size.parameters:,}"
        for size in sizes
        if size.deployed_parameters not in (None, size.parameters)
    ]
    notes += [o.record.remark for o in cell.outcomes if o.record and o.record.remark]
    reasons = dict.fromkeys(o.reason for o in cell.outcomes if o.reason is not None)
    notes += [f"not applicable: {reason}" for reason in reasons]
    return [textwrap.shorten(note, NOTE_WIDTH, placeholder=" ...") for note in notes]


def _noted(cell: Cell, notes: tuple[str, ...]) -> Cell:
    return replace(cell, notes=tuple(notes.index(note) for note in _says(cell)))
