"""Tables as GitHub-flavoured markdown."""

import re

from tabulate import tabulate

from benchmark.report.tables.layout import FormattedCell, TableLayout, footnote_letter

# GitHub reads an underscore inside a word (wrn_40_2) as plain text, so it is not escaped.
_SPECIAL = re.compile(r"[\\`*\[\]{}<>~$!#@]|:(?=\S)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def render(layout: TableLayout) -> str:
    """Return one table: title, grid, caption, footnotes."""
    grid = layout.grid
    separator = " " if layout.groups_are_pairs else ", "
    heads = [escape(_join_head_lines(head, separator)) for head in grid.heads]
    rows = [
        [_format_cell_markdown(cell) for cell in line] for block in grid.blocks for line in block
    ]
    sides = ("left", *("right",) * (len(heads) - 1))
    body = tabulate(rows, heads, "pipe", colalign=sides, disable_numparse=True)
    parts = [f"## {escape(layout.title)}", body, escape(layout.caption)]
    parts += [
        f"<sup>{footnote_letter(i)}</sup> {escape(note)}" for i, note in enumerate(layout.notes)
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return markdown that shows `text` literally, on one line, inside a table or outside."""
    one_line = " ".join(text.split())
    # A pipe becomes an entity because parsers disagree on a backslash before a pipe.
    return _SPECIAL.sub(r"\\\g<0>", one_line.replace("&", "&amp;")).replace("|", "&#124;")


def _join_head_lines(head: tuple[str, ...], separator: str) -> str:
    """Return the lines of a head as one line: the pair, then what the column is."""
    pair, rest = " → ".join(filter(None, head[:2])), separator.join(filter(None, head[2:]))
    return ", ".join(filter(None, (pair, rest)))


def _format_cell_markdown(cell: FormattedCell) -> str:
    text = escape(cell.text)
    if cell.bold:
        text = f"**{text}**"
    if cell.italic:
        text = f"*{text}*"
    if cell.underlined and text:
        text = f"<ins>{text}</ins>"  # the only tag for underlining that GitHub does not remove
    return text + (f"<sup>{cell.marks}</sup>" if cell.marks else "")
