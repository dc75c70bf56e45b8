"""Tables on a terminal, however narrow it is."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.report.tables.layout import Entry, Grid, Layout, letter, split

BETWEEN = 3  # letters: a line with a space on either side


def show(layout: Layout, console: Console) -> None:
    """Print title, grid in parts, caption, footnotes; names are never read as rich's markup."""
    title = layout.title
    for part in split(layout, console.width - BETWEEN - 1, BETWEEN):
        console.print(_drawn(title, part, layout.ruled))
        title = f"{layout.title}, continued"
    console.print(Text(layout.caption, style="dim"))
    for place, note in enumerate(layout.notes):
        console.print(Text(f"({letter(place)}) {note}", style="dim"))


def _drawn(title: str, grid: Grid, ruled: int) -> RichTable:
    drawn = RichTable(title=Text(title), title_justify="left", title_style="bold")
    for place, head in enumerate(grid.heads):
        drawn.add_column(Text("\n".join(head)), justify="right" if place else "left")
    for place, block in enumerate(grid.blocks, start=1):
        # The teacher is the ruler, not a competitor; and a block of two lines wants a rule below.
        for line in block:
            drawn.add_row(*(_mark(entry) for entry in line))
        if place == ruled or len(block) > 1:
            drawn.add_section()
    return drawn


def _mark(entry: Entry) -> Text:
    styles = {"bold": entry.bold, "italic": entry.italic, "underline": entry.underlined}
    style = " ".join(name for name, wanted in styles.items() if wanted)
    text = Text(" ".join(entry.text.split()), style=style)
    return text.append(f" ({entry.marks})", style="dim") if entry.marks else text
