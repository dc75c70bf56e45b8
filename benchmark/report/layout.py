"""Where a table's numbers stand: a grid of plain texts that each writer escapes and marks."""

from dataclasses import dataclass

from benchmark.report.records import Column
from benchmark.report.table import Cell, Delta, Row, Table, printed

MINUS, DASH, NOTHING = "\u2212", "\u2013", "\u00b7"


@dataclass(frozen=True)
class Entry:
    """What stands in one place: a text, not yet escaped, and how it is marked."""

    text: str
    bold: bool = False
    italic: bool = False
    marks: str = ""  # footnote letters, set high


@dataclass(frozen=True)
class Grid:
    """Heads are lists of lines, one above the other; a body is a list of blocks kept together."""

    heads: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[tuple[Entry, ...], ...], ...]


def lay_out(table: Table) -> Grid:
    """One pair: a column for each number. Several: a column a pair, differences below the mean."""
    deltas = tuple(f"Δ {name}" for name in table.references)
    if len(table.columns) == 1:
        heads = [("method",), ("n",), ("top-1 (%)",), *((delta,) for delta in deltas)]
        return Grid(tuple(heads), tuple((_line(row),) for row in table.rows))
    several = len({column.dataset for column in table.columns}) > 1
    pairs = tuple(pair(column, several) for column in table.columns)
    below = " / ".join(deltas)
    return Grid((("teacher", "student"), *pairs), tuple(_block(row, below) for row in table.rows))


def letter(note: int) -> str:
    """The mark of the note in this place: a, b, ... z, aa, ab, ..."""
    before, last = divmod(note, 26)
    return (letter(before - 1) if before else "") + chr(ord("a") + last)


def pair(column: Column, with_dataset: bool) -> tuple[str, str]:
    """The two lines that head a column: teacher, student."""
    dataset = f"{column.dataset}: " if with_dataset else ""
    return f"{dataset}{column.teacher}", column.student


def signed(delta: Delta | None, absent: str) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    if delta is None:
        return absent
    text = f"{delta.mean:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def _line(row: Row) -> tuple[Entry, ...]:
    (cell,) = row.cells
    count = str(cell.n) if cell.complete else f"{cell.n}/{cell.wanted}"
    deltas = (Entry(signed(delta, absent="")) for delta in cell.deltas)
    return (_name(row), Entry(count if cell.applicable else ""), _number(cell), *deltas)


def _block(row: Row, below: str) -> tuple[tuple[Entry, ...], ...]:
    numbers = (_name(row), *(_number(cell, count=True) for cell in row.cells))
    if row.role == "teacher" or not below:
        return (numbers,)
    differences = (Entry(_differences(cell)) for cell in row.cells)
    return numbers, (Entry(below), *differences)


def _name(row: Row) -> Entry:
    return Entry(row.name, italic=row.role == "teacher")


def _differences(cell: Cell) -> str:
    if cell.deltas == (None,) * len(cell.deltas):
        return ""
    return " / ".join(signed(delta, absent=NOTHING) for delta in cell.deltas)


def _number(cell: Cell, count: bool = False) -> Entry:
    marks = ",".join(letter(note) for note in cell.notes)
    if not cell.applicable:
        return Entry(DASH, marks=marks)
    spread = "" if cell.std is None else f" ± {printed(cell.std)}"
    number = "" if cell.mean is None else f"{printed(cell.mean)}{spread}"
    done = f"{cell.n}/{cell.wanted}"
    if count and not cell.complete:
        number = f"{number} ({done})" if number else done
    return Entry(number, bold=cell.best, marks=marks)
