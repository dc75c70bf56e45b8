"""Where a table's numbers stand: a grid of plain texts that each writer escapes and marks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from benchmark.report.results.outcomes import Column
from benchmark.report.statistics.significance import Interval, Test
from benchmark.report.tables.caption import DAGGERS
from benchmark.report.tables.cells import Cell, Delta, Row, Table, printed

MINUS, DASH, NOTHING = "\u2212", "\u2013", "\u00b7"


@dataclass(frozen=True)
class Entry:
    """What stands in one place: a text, not yet escaped, and how it is marked."""

    text: str
    bold: bool = False
    italic: bool = False
    marks: str = ""  # footnote letters, set high
    underlined: bool = False


@dataclass(frozen=True)
class Grid:
    """Heads are lists of lines, one above the other; a body is a list of blocks kept together."""

    heads: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[tuple[Entry, ...], ...], ...]


@dataclass(frozen=True)
class Layout:
    """One table as it is printed: a grid with all that stands above and below it."""

    suite: str
    name: str
    """Which of the suite's tables; nothing for the first."""
    title: str
    grid: Grid
    caption: str
    notes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    """How many columns after the first stay together where the grid is split; else each alone."""
    ruled: int = 1
    """How many of the first blocks a rule sets off: the teacher's."""
    paired: bool = False
    """Whether each group is of one pair, in the table's order."""


def main(table: Table) -> Layout:
    """One pair: a column for each number. Several: a column a pair, differences below the mean."""
    ruled = len(table.rows) - len(table.students)
    return Layout(
        table.suite, "", table.title, lay_out(table), table.caption, table.notes, ruled=ruled
    )


def lay_out(table: Table) -> Grid:
    """The main table's grid."""
    deltas = tuple(f"Δ {name}" for name in table.references)
    if len(table.columns) == 1:
        return _single(table, deltas)
    several = len({column.dataset for column in table.columns}) > 1
    pairs = tuple(pair(column, several) for column in table.columns)
    below = " / ".join(deltas)
    return Grid((("teacher", "student"), *pairs), tuple(_block(row, below) for row in table.rows))


def split(layout: Layout, most: int, beside: int = 2) -> Iterator[Grid]:
    """The grid in parts of at most so many letters across; each repeats the first column.

    `beside` is what stands between two columns. A group of columns is never taken apart.
    """
    grid, taken, used = layout.grid, [0], _letters(layout.grid, 0)
    places = iter(range(1, len(grid.heads)))
    for size in layout.groups or (1,) * (len(grid.heads) - 1):
        group = list(islice(places, size))
        needed = sum(_letters(grid, place) + beside for place in group)
        if len(taken) > 1 and used + needed > most:
            yield _part(grid, taken)
            taken, used = [0], _letters(grid, 0)
        taken += group
        used += needed
    yield _part(grid, taken)


def letter(note: int) -> str:
    """The mark of the note in this place: a, b, ... z, aa, ab, ..."""
    before, last = divmod(note, 26)
    return (letter(before - 1) if before else "") + chr(ord("a") + last)


def pair(column: Column, with_dataset: bool) -> tuple[str, str]:
    """The two lines that head a column: teacher, student, or what the suite calls the pair."""
    named, renamed = column.shown or (column.dataset, column.pair)
    dataset = f"{named}: " if with_dataset else ""
    if renamed != column.pair:
        return f"{dataset}{renamed}", ""
    return f"{dataset}{column.teacher}", column.student


def signed(delta: Delta | None, absent: str) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    return absent if delta is None else plus(delta.mean)


def plus(points: float) -> str:
    """A number with its sign; what rounds to nothing has none."""
    text = f"{points:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def within(interval: Interval | None) -> str:
    """An interval in brackets."""
    if interval is None:
        return ""
    low, high = (f"{end:.2f}".replace("-", MINUS) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def number(cell: Cell, count: bool = False) -> Entry:
    """A cell's mean and spread with its marks; with `count`, also how many seeds it lacks."""
    marks = ",".join(letter(note) for note in cell.notes)
    if not cell.applicable:
        return Entry(DASH, marks=marks)
    spread = "" if cell.std is None else f" ± {printed(cell.std)}"
    text = "" if cell.mean is None else f"{printed(cell.mean)}{spread}"
    done = f"{cell.n}/{cell.wanted}"
    if count and not cell.complete:
        text = f"{text} ({done})" if text else done
    return Entry(text, bold=cell.best, marks=marks, underlined=cell.second)


def name(row: Row) -> Entry:
    """What heads a line."""
    return Entry(row.shown or row.name, italic=row.role == "teacher")


def _single(table: Table, deltas: tuple[str, ...]) -> Grid:
    """One line a method; intervals and gap have a column once one of them is known."""
    cells = [row.cells[0] for row in table.rows]
    intervals = any(cell.interval for cell in cells)
    gaps = any(cell.gap is not None for cell in cells)
    heads = ["method", "n", "top-1 (%)", *["95 % interval"] * intervals, *deltas]
    heads += ["gap closed (%)"] * gaps
    lines = [
        (
            name(row),
            Entry(_count(cell)),
            number(cell),
            *[Entry(within(cell.interval))] * intervals,
            *(_difference(cell, place) for place in range(len(deltas))),
            *[Entry("" if cell.gap is None else f"{cell.gap:.0f}".replace("-", MINUS))] * gaps,
        )
        for row, cell in zip(table.rows, cells, strict=True)
    ]
    return Grid(tuple((head,) for head in heads), tuple((line,) for line in lines))


def _count(cell: Cell) -> str:
    if not cell.applicable:
        return ""
    return str(cell.n) if cell.complete else f"{cell.n}/{cell.wanted}"


def _difference(cell: Cell, place: int) -> Entry:
    test = cell.tests[place] if cell.tests else None
    text = signed(cell.deltas[place], absent="")
    return Entry(f"{text} {within(test.interval)}" if test else text, marks=dagger(test, place))


def dagger(test: Test | None, place: int) -> str:
    """The mark of a difference that holds."""
    return DAGGERS[place] if test is not None and test.significant else ""


def _block(row: Row, below: str) -> tuple[tuple[Entry, ...], ...]:
    numbers = (name(row), *(number(cell, count=True) for cell in row.cells))
    differences = tuple(Entry(_differences(cell)) for cell in row.cells)
    if not any(entry.text for entry in differences):
        return (numbers,)
    return numbers, (Entry(below), *differences)


def _differences(cell: Cell) -> str:
    if cell.deltas == (None,) * len(cell.deltas):
        return ""
    tests = cell.tests or (None,) * len(cell.deltas)
    return " / ".join(
        signed(delta, absent=NOTHING) + dagger(test, place)
        for place, (delta, test) in enumerate(zip(cell.deltas, tests, strict=True))
    )


def _letters(grid: Grid, place: int) -> int:
    """The width of a column in letters."""
    lines = (line[place] for block in grid.blocks for line in block)
    return max(*map(len, grid.heads[place]), *(_shown(entry) for entry in lines))


def _shown(entry: Entry) -> int:
    return len(entry.text) + (len(entry.marks) + 3 if entry.marks else 0)


def _part(grid: Grid, places: list[int]) -> Grid:
    blocks = tuple(
        tuple(tuple(line[place] for place in places) for line in block) for block in grid.blocks
    )
    return replace(grid, heads=tuple(grid.heads[place] for place in places), blocks=blocks)
