"""From outcomes to a table of data cells; how a cell looks on paper is the writers' business."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from benchmark.report.records import Column, Manifest, Outcome, Results

REFERENCES = ("scratch", "kd")  # what differences are taken to, where the suite has them
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


@dataclass(frozen=True)
class Row:
    """One line of the table; the teacher's has no differences and takes no part in the best."""

    role: Literal["teacher", "student"]
    name: str
    cells: tuple[Cell, ...]


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


def tabulate(results: Results) -> Table:
    """The table of last-epoch test top-1 that `results` make."""
    grid = results.manifest
    references = tuple(name for name in REFERENCES if name in grid.methods)
    columns = [_column(results, index, references) for index in range(len(grid.columns))]
    notes = tuple(
        dict.fromkeys(note for column in columns for cell in column for note in _says(cell))
    )
    names = ("teacher", *grid.methods)
    taught = any(column.teacher_run for column in grid.columns)
    rows = tuple(
        Row(
            "student" if line else "teacher",
            name,
            tuple(_noted(column[line], notes) for column in columns),
        )
        for line, name in enumerate(names)
        if line or taught
    )
    cells = [cell for row in rows for cell in row.cells]
    complete = all(cell.complete or not cell.applicable for cell in cells)
    caption = _caption(grid, references, complete)
    return Table(grid.suite, grid.title, caption, grid.columns, references, rows, notes)


def printed(percent: float) -> str:
    """A percentage as tables show it; ties are ties at this precision."""
    return f"{percent:.2f}"


def by_seed(outcomes: Iterable[Outcome]) -> dict[int | None, float]:
    """Last-epoch top-1 in percent of the runs that are done."""
    return {o.seed: o.record.result.top1 for o in outcomes if o.record is not None}


def paired(ours: Iterable[Outcome], theirs: Iterable[Outcome]) -> Delta | None:
    """Ours minus theirs, seed by seed, over the seeds that both have."""
    mine, others = by_seed(ours), by_seed(theirs)
    both = [mine[seed] - others[seed] for seed in mine if seed in others]
    return Delta(fmean(both), len(both)) if both else None


def _column(results: Results, index: int, references: tuple[str, ...]) -> list[Cell]:
    """The cells of one pair from top to bottom, the teacher's first, the best marked."""
    methods = results.manifest.methods
    students = {name: results.students[index, name] for name in methods}
    cells = [
        _cell(
            outcomes,
            # A method's difference to itself says nothing, so there is none.
            [None if name == other else paired(outcomes, students[other]) for other in references],
        )
        for name, outcomes in students.items()
    ]
    complete = [cell.mean for cell in cells if cell.complete and cell.mean is not None]
    best = printed(max(complete)) if complete else None
    marked = [
        replace(cell, best=cell.complete and cell.mean is not None and printed(cell.mean) == best)
        for cell in cells
    ]
    return [_cell((results.teachers[index],), [None] * len(references)), *marked]


def _cell(outcomes: tuple[Outcome, ...], deltas: Sequence[Delta | None]) -> Cell:
    values = list(by_seed(outcomes).values())
    return Cell(
        outcomes=outcomes,
        applicable=any(outcome.state != "not applicable" for outcome in outcomes),
        mean=fmean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        deltas=tuple(deltas),
        best=False,
        notes=(),
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


def _caption(grid: Manifest, references: tuple[str, ...], complete: bool) -> str:
    """All that a reader must know to read a number: data, epoch, seeds, spread, budget, marks."""
    n = len(grid.seeds)
    limit = "" if grid.dataset_limit is None else f" (limited to {grid.dataset_limit} images)"
    if grid.validation is not None:
        limit = f", {grid.validation:,} held-out train images{limit}"
    pair = ""
    if len(grid.columns) == 1:
        pair = f", teacher {grid.columns[0].teacher}, student {grid.columns[0].student}"
    initialising = {"inside": "included", "extra": "on top"}[grid.init_epochs]
    epochs = f"{grid.epochs} epoch{'s' * (grid.epochs != 1)}"
    sentences = [
        f"{grid.measure.capitalize()} (%) on {grid.dataset}{limit}{pair},",
        f"after the last of {epochs}",
        f"(epochs of initialising phases {initialising}).",
        f"Mean ± sample standard deviation over {n} seed{'s' * (n != 1)};",
        "bold: the best mean among the complete student rows.",
    ]
    sentences += [f"Column {probe}." for probe in grid.probes]
    if references:
        to = " and to ".join(references)
        sentences.append(f"Δ: difference to {to} in percentage points, paired by seed.")
    if grid.departures:
        sentences.append(f"Not at the default: {'; '.join(grid.departures)}.")
    if not complete:
        sentences.append(f"k/{n}: only k of {n} seeds are done.")
    return " ".join(sentences)
