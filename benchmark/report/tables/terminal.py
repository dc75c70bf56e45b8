"""Tables on a terminal; wide ones are split to fit its width."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.report.tables.layout import (
    FormattedCell,
    TableLayout,
    TextGrid,
    footnote_letter,
    split_by_width,
)

COLUMN_GAP = 3
"""The letters between two columns: a vertical line with a space on each side."""


def print_layout(layout: TableLayout, console: Console) -> None:
    """Print title, grid, caption and footnotes. All text is literal, never markup of rich."""
    title = layout.title
    for part in split_by_width(layout, console.width - COLUMN_GAP - 1, COLUMN_GAP):
        console.print(_rich_table(title, part, layout.teacher_blocks))
        title = f"{layout.title}, continued"
    console.print(Text(layout.caption, style="dim"))
    for index, note in enumerate(layout.notes):
        console.print(Text(f"({footnote_letter(index)}) {note}", style="dim"))


def _rich_table(title: str, grid: TextGrid, teacher_blocks: int) -> RichTable:
    table = RichTable(title=Text(title), title_justify="left", title_style="bold")
    for index, head in enumerate(grid.heads):
        table.add_column(Text("\n".join(head)), justify="right" if index else "left")
    for number, block in enumerate(grid.blocks, start=1):
        for line in block:
            table.add_row(*(_rich_text(cell) for cell in line))
        # A rule below the teacher, and below each block of more than one line.
        if number == teacher_blocks or len(block) > 1:
            table.add_section()
    return table


def _rich_text(cell: FormattedCell) -> Text:
    styles = {"bold": cell.bold, "italic": cell.italic, "underline": cell.underlined}
    style = " ".join(name for name, applies in styles.items() if applies)
    text = Text(" ".join(cell.text.split()), style=style)
    return text.append(f" ({cell.marks})", style="dim") if cell.marks else text
