"""The table on a terminal."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.report.layout import Entry, Grid, lay_out, letter
from benchmark.report.table import Table


def show(table: Table, console: Console) -> None:
    """Print title, table, caption and footnotes; names are never read as rich's markup."""
    grid = lay_out(table)
    console.print(_drawn(table, grid))
    console.print(Text(table.caption, style="dim"))
    for place, note in enumerate(table.notes):
        console.print(Text(f"({letter(place)}) {note}", style="dim"))


def _drawn(table: Table, grid: Grid) -> RichTable:
    drawn = RichTable(title=Text(table.title), title_justify="left", title_style="bold")
    for place, head in enumerate(grid.heads):
        drawn.add_column(Text("\n".join(head)), justify="right" if place else "left")
    for place, block in enumerate(grid.blocks):
        # The teacher is the ruler, not a competitor; and a block of two lines wants a rule below.
        for line in block:
            drawn.add_row(*(_mark(entry) for entry in line))
        if place == 0 or len(block) > 1:
            drawn.add_section()
    return drawn


def _mark(entry: Entry) -> Text:
    style = "bold" if entry.bold else "italic" if entry.italic else ""
    text = Text(" ".join(entry.text.split()), style=style)
    return text.append(f" ({entry.marks})", style="dim") if entry.marks else text
