"""The cells of a suite's tables as unrounded numbers. `layout.py` turns them into text."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Literal

from benchmark.report.results.choice import chosen_columns, chosen_rows
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.results.quantities import mean_quantities
from benchmark.report.statistics.analysis import (
    Analysis,
    SuiteSummary,
    analyse,
    summarise_over_pairs,
    top1_by_seed,
)
from benchmark.report.statistics.significance import Interval, PairedTest
from benchmark.report.tables.caption import table_caption
from benchmark.store.manifest import ManifestColumn

MAX_NOTE_LENGTH = 240
"""In letters. Longer footnotes are cut: the message of a failure may fill a page."""


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference in percentage points over the `n` seeds that both methods have done."""

    mean: float
    n: int


@dataclass(frozen=True)
class TableCell:
    """One method in one column. Accuracies are in percent, differences in percentage points."""

    outcomes: tuple[Outcome, ...]
    """One for each seed of the suite; a teacher has one."""
    applicable: bool
    mean: float | None
    std: float | None
    """The sample standard deviation over the seeds that are done; None with fewer than two."""
    deltas: tuple[PairedDifference | None, ...]
    """The difference to each of `Table.references`; None to itself."""
    best: bool
    """Whether the mean is the highest of all complete student cells in the column."""
    notes: tuple[int, ...]
    """Indices into `Table.notes`."""
    second: bool = False
    interval: Interval | None = None
    """Of the mean; None with fewer than three seeds."""
    tests: tuple[PairedTest | None, ...] = ()
    """The test of each of `deltas`."""
    gap: float | None = None
    """The share of the gap between scratch and teacher that is closed, in percent."""

    @property
    def n(self) -> int:
        """The number of seeds that are done."""
        return len(top1_by_seed(self.outcomes))

    @property
    def wanted(self) -> int:
        """The number of seeds of the suite; 1 for a teacher."""
        return len(self.outcomes)

    @property
    def complete(self) -> bool:
        """Whether all seeds are done."""
        return self.n == self.wanted

    @cached_property
    def measured(self) -> dict[str, tuple[float, int]]:
        """The mean of each quantity besides accuracy, and the number of runs that have it."""
        return mean_quantities(self.outcomes)


@dataclass(frozen=True)
class TableRow:
    """One method, or the teacher, in all columns.

    A teacher has no differences and is never marked as the best.
    """

    role: Literal["teacher", "student"]
    name: str
    cells: tuple[TableCell, ...]
    display_name: str = ""
    """The name that tables show; `name` is shown if this is empty."""


@dataclass(frozen=True)
class Table:
    """A suite's results as tables show them: one row a method, one column a pair."""

    suite: str
    title: str
    caption: str
    columns: tuple[ManifestColumn, ...]
    references: tuple[str, ...]
    rows: tuple[TableRow, ...]
    """The teacher's row is first. A suite that trains no teacher has none."""
    notes: tuple[str, ...]
    """The footnotes, each once."""
    column_indices: tuple[int, ...] = ()
    """The index of each column in the manifest."""
    summary: SuiteSummary | None = None
    resolvable: Mapping[str, tuple[float, int] | None] | None = None
    """By data set: the smallest detectable difference and its number of seeds."""

    @property
    def students(self) -> tuple[TableRow, ...]:
        """All rows but the teacher's."""
        return tuple(row for row in self.rows if row.role == "student")


def tabulate(results: Results) -> Table:
    """Return the table of top-1 after the last epoch, with the rows and columns the suite selects.

    Raises UserError: the suite's `table` selects a row or column that its grid does not have.
    """
    grid = results.manifest
    analysis = analyse(results)
    names, columns = chosen_rows(grid), chosen_columns(grid)
    cells_by_column = [_cells_of_column(results, index, list(names), analysis) for index in columns]
    cells = [cell for column in cells_by_column for cell in column]
    notes = tuple(dict.fromkeys(note for cell in cells for note in _footnotes(cell)))
    has_teacher = any(column.teacher_run for column in grid.columns)
    rows = tuple(
        TableRow(
            role="student" if line else "teacher",
            name=name,
            cells=tuple(_with_footnotes(column[line], notes) for column in cells_by_column),
            display_name=names.get(name, name),
        )
        for line, name in enumerate(("teacher", *names))
        if line or has_teacher
    )
    complete = all(cell.complete or not cell.applicable for row in rows for cell in row.cells)
    return Table(
        suite=grid.suite,
        title=grid.title,
        caption=table_caption(grid, tuple(columns.values()), analysis, complete),
        columns=tuple(columns.values()),
        references=analysis.references,
        rows=rows,
        notes=notes,
        column_indices=tuple(columns),
        summary=summarise_over_pairs(results, analysis),
        resolvable=analysis.resolvable,
    )


def format_percent(percent: float) -> str:
    """Return a percentage with two decimals. Means that are equal in this form count as ties."""
    return f"{percent:.2f}"


def _mean_difference(ours: Iterable[float], theirs: Iterable[float]) -> PairedDifference | None:
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return PairedDifference(fmean(differences), len(differences)) if differences else None


def _cells_of_column(
    results: Results, index: int, names: list[str], analysis: Analysis
) -> list[TableCell]:
    """Return the cells of one column, the teacher's first, with the best two students marked."""
    no_differences = (None,) * len(analysis.references)
    cells = [_student_cell(results, index, name, analysis) for name in names]
    means = {format_percent(cell.mean) for cell in cells if cell.complete and cell.mean is not None}
    best, second = [*sorted(means, key=float, reverse=True), None, None][:2]
    marked = [_with_best_marks(cell, best, second) for cell in cells]
    return [_cell_without_statistics((results.teachers[index],), no_differences), *marked]


def _with_best_marks(cell: TableCell, best: str | None, second: str | None) -> TableCell:
    mean = format_percent(cell.mean) if cell.complete and cell.mean is not None else ""
    return replace(cell, best=mean == best, second=mean == second)


def _student_cell(results: Results, index: int, name: str, analysis: Analysis) -> TableCell:
    # There is no pair, and so no difference, of a reference with itself.
    keys = [(index, name, reference) for reference in analysis.references]
    deltas = tuple(_mean_difference(*analysis.pairs.get(key, ((), ()))) for key in keys)
    return replace(
        _cell_without_statistics(results.students[index, name], deltas),
        interval=analysis.intervals[index, name],
        tests=tuple(analysis.tests.get(key) for key in keys),
        gap=analysis.gaps[index, name],
    )


def _cell_without_statistics(
    outcomes: tuple[Outcome, ...], deltas: tuple[PairedDifference | None, ...]
) -> TableCell:
    values = list(top1_by_seed(outcomes).values())
    return TableCell(
        outcomes=outcomes,
        applicable=any(outcome.state != "not applicable" for outcome in outcomes),
        mean=fmean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        deltas=deltas,
        best=False,
        notes=(),
        tests=(None,) * len(deltas),
    )


def _footnotes(cell: TableCell) -> list[str]:
    """Return a cell's footnotes.

    They are: each failure once, with its seeds; a deployed network of another size than the
    student's; remarks of records; and why the method is not applicable.
    """
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
    return [textwrap.shorten(note, MAX_NOTE_LENGTH, placeholder=" ...") for note in notes]


def _with_footnotes(cell: TableCell, notes: tuple[str, ...]) -> TableCell:
    return replace(cell, notes=tuple(notes.index(note) for note in _footnotes(cell)))
