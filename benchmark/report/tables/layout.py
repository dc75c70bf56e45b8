"""Tables as text: grids of formatted cells, which each writer escapes for its file format."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from benchmark.report.statistics.significance import Interval, PairedTest
from benchmark.report.tables.caption import SIGNIFICANCE_MARKS
from benchmark.report.tables.cells import (
    PairedDifference,
    Table,
    TableCell,
    TableRow,
    format_percent,
)
from benchmark.store.manifest import ManifestColumn

MINUS, DASH, MIDDLE_DOT = "\u2212", "\u2013", "\u00b7"


@dataclass(frozen=True)
class FormattedCell:
    """The text of one cell, not yet escaped, and its formatting."""

    text: str
    bold: bool = False
    italic: bool = False
    marks: str = ""
    """Footnote letters and significance marks, set as a superscript."""
    underlined: bool = False


@dataclass(frozen=True)
class TextGrid:
    """The heads and the body of a table."""

    heads: tuple[tuple[str, ...], ...]
    """One for each column: the lines of its head from top to bottom."""
    blocks: tuple[tuple[tuple[FormattedCell, ...], ...], ...]
    """Each block is a list of lines that stay together; each line has one cell a column."""


@dataclass(frozen=True)
class TableLayout:
    """One table in text form: the grid, and the text above and below it."""

    suite: str
    name: str
    """The table's name within the suite, part of its file names; empty for the main table."""
    title: str
    grid: TextGrid
    caption: str
    notes: tuple[str, ...] = ()
    """The footnotes; the first has the letter a."""
    groups: tuple[int, ...] = ()
    """The sizes of groups of columns that are not split, after the first column; if empty, every
    column is a group of its own.
    """
    teacher_blocks: int = 1
    """The number of blocks at the top that a rule separates from the rest: the teacher's."""
    groups_are_pairs: bool = False
    """Whether each group belongs to one teacher-student pair, in the order of the table."""


def layout_main_table(table: Table) -> TableLayout:
    """Return the main table: methods by pairs.

    A single pair has a column for each number. Several pairs have one column each, with the
    differences in a line below the mean.
    """
    teacher_blocks = len(table.rows) - len(table.students)
    return TableLayout(
        table.suite,
        "",
        table.title,
        main_text_grid(table),
        table.caption,
        table.notes,
        teacher_blocks=teacher_blocks,
    )


def main_text_grid(table: Table) -> TextGrid:
    """Return the grid of the main table."""
    deltas = tuple(f"Δ {name}" for name in table.references)
    if len(table.columns) == 1:
        return _single_pair_grid(table, deltas)
    several = len({column.dataset for column in table.columns}) > 1
    pairs = tuple(pair_heading(column, several) for column in table.columns)
    differences_head = " / ".join(deltas)
    return TextGrid(
        (("teacher", "student"), *pairs),
        tuple(_row_block(row, differences_head) for row in table.rows),
    )


def split_by_width(layout: TableLayout, max_width: int, gap: int = 2) -> Iterator[TextGrid]:
    """Split the grid by columns into parts of at most `max_width` letters.

    Each part repeats the first column. `gap` is the width between two columns. A group of columns
    is never split, so a part with a single group may be wider.
    """
    grid, indices, width = layout.grid, [0], _column_width(layout.grid, 0)
    remaining = iter(range(1, len(grid.heads)))
    for size in layout.groups or (1,) * (len(grid.heads) - 1):
        group = list(islice(remaining, size))
        group_width = sum(_column_width(grid, index) + gap for index in group)
        if len(indices) > 1 and width + group_width > max_width:
            yield _select_columns(grid, indices)
            indices, width = [0], _column_width(grid, 0)
        indices += group
        width += group_width
    yield _select_columns(grid, indices)


def footnote_letter(index: int) -> str:
    """Return the letter of a footnote by its index: a, b, ... z, aa, ab, ..."""
    prefix, last = divmod(index, 26)
    return (footnote_letter(prefix - 1) if prefix else "") + chr(ord("a") + last)


def pair_heading(column: ManifestColumn, with_dataset: bool) -> tuple[str, str]:
    """Return the two lines of a pair's head: teacher and student.

    If the suite sets a display name for the pair, the first line has this name and the second is
    empty.
    """
    dataset_name, pair_name = column.display_names or (column.dataset, column.pair)
    prefix = f"{dataset_name}: " if with_dataset else ""
    if pair_name != column.pair:
        return f"{prefix}{pair_name}", ""
    return f"{prefix}{column.teacher}", column.student


def format_difference(delta: PairedDifference | None, absent: str) -> str:
    """Return a difference in percentage points with its sign, or `absent` if there is none."""
    return absent if delta is None else format_signed(delta.mean)


def format_signed(points: float) -> str:
    """Return a number with its sign and two decimals; one that rounds to zero has no sign."""
    text = f"{points:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def format_interval(interval: Interval | None) -> str:
    """Return an interval in brackets, or an empty text if there is none."""
    if interval is None:
        return ""
    low, high = (f"{bound:.2f}".replace("-", MINUS) for bound in (interval.low, interval.high))
    return f"[{low}, {high}]"


def format_cell(cell: TableCell, count: bool = False) -> FormattedCell:
    """Return a cell's mean and standard deviation, with footnote letters and the best two marked.

    With `count`, an incomplete cell also has the number of seeds that are done, as in `2/3`.
    """
    marks = ",".join(footnote_letter(note) for note in cell.notes)
    if not cell.applicable:
        return FormattedCell(DASH, marks=marks)
    spread = "" if cell.std is None else f" ± {format_percent(cell.std)}"
    text = "" if cell.mean is None else f"{format_percent(cell.mean)}{spread}"
    done = f"{cell.n}/{cell.wanted}"
    if count and not cell.complete:
        text = f"{text} ({done})" if text else done
    return FormattedCell(text, bold=cell.best, marks=marks, underlined=cell.second)


def format_row_name(row: TableRow) -> FormattedCell:
    """Return the first cell of a row."""
    return FormattedCell(row.display_name or row.name, italic=row.role == "teacher")


def _single_pair_grid(table: Table, deltas: tuple[str, ...]) -> TextGrid:
    """Return one line a row. Intervals and gaps have a column only if a cell has one."""
    cells = [row.cells[0] for row in table.rows]
    intervals = any(cell.interval for cell in cells)
    gaps = any(cell.gap is not None for cell in cells)
    heads = ["method", "n", "top-1 (%)", *["95 % interval"] * intervals, *deltas]
    heads += ["gap closed (%)"] * gaps
    lines = [
        (
            format_row_name(row),
            FormattedCell(_format_seed_count(cell)),
            format_cell(cell),
            *[FormattedCell(format_interval(cell.interval))] * intervals,
            *(_format_tested_difference(cell, index) for index in range(len(deltas))),
            *[FormattedCell("" if cell.gap is None else f"{cell.gap:.0f}".replace("-", MINUS))]
            * gaps,
        )
        for row, cell in zip(table.rows, cells, strict=True)
    ]
    return TextGrid(tuple((head,) for head in heads), tuple((line,) for line in lines))


def _format_seed_count(cell: TableCell) -> str:
    if not cell.applicable:
        return ""
    return str(cell.n) if cell.complete else f"{cell.n}/{cell.wanted}"


def _format_tested_difference(cell: TableCell, index: int) -> FormattedCell:
    test = cell.tests[index] if cell.tests else None
    text = format_difference(cell.deltas[index], absent="")
    return FormattedCell(
        f"{text} {format_interval(test.interval)}" if test else text,
        marks=significance_mark(test, index),
    )


def significance_mark(test: PairedTest | None, reference: int) -> str:
    """Return the mark of a significant difference to a reference, given by index; else ""."""
    return SIGNIFICANCE_MARKS[reference] if test is not None and test.significant else ""


def _row_block(row: TableRow, differences_head: str) -> tuple[tuple[FormattedCell, ...], ...]:
    numbers = (format_row_name(row), *(format_cell(cell, count=True) for cell in row.cells))
    differences = tuple(FormattedCell(_format_all_differences(cell)) for cell in row.cells)
    if not any(cell.text for cell in differences):
        return (numbers,)
    return numbers, (FormattedCell(differences_head), *differences)


def _format_all_differences(cell: TableCell) -> str:
    if cell.deltas == (None,) * len(cell.deltas):
        return ""
    tests = cell.tests or (None,) * len(cell.deltas)
    return " / ".join(
        format_difference(delta, absent=MIDDLE_DOT) + significance_mark(test, index)
        for index, (delta, test) in enumerate(zip(cell.deltas, tests, strict=True))
    )


def _column_width(grid: TextGrid, index: int) -> int:
    """Return the width of a column in letters."""
    cells = (line[index] for block in grid.blocks for line in block)
    return max(*map(len, grid.heads[index]), *(_cell_width(cell) for cell in cells))


def _cell_width(cell: FormattedCell) -> int:
    # The terminal writes marks in brackets after a space: three letters more.
    return len(cell.text) + (len(cell.marks) + 3 if cell.marks else 0)


def _select_columns(grid: TextGrid, indices: list[int]) -> TextGrid:
    blocks = tuple(
        tuple(tuple(line[index] for index in indices) for line in block) for block in grid.blocks
    )
    return replace(grid, heads=tuple(grid.heads[index] for index in indices), blocks=blocks)
