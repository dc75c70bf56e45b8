"""Tables as GitHub-flavoured markdown."""

import re

from tabulate import tabulate

from benchmark.report.tables.layout import Entry, Layout, letter

# An underscore inside a word (wrn_40_2) is plain text in GitHub's dialect: left readable.
_SPECIAL = re.compile(r"[\\`*\[\]{}<>~$!#@]|:(?=\S)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def render(layout: Layout) -> str:
    """One table: title, grid, caption, footnotes."""
    grid = layout.grid
    between = " " if layout.paired else ", "
    heads = [escape(_joined(head, between)) for head in grid.heads]
    rows = [[_mark(entry) for entry in line] for block in grid.blocks for line in block]
    sides = ("left", *("right",) * (len(heads) - 1))
    body = tabulate(rows, heads, "pipe", colalign=sides, disable_numparse=True)
    parts = [f"## {escape(layout.title)}", body, escape(layout.caption)]
    parts += [f"<sup>{letter(i)}</sup> {escape(note)}" for i, note in enumerate(layout.notes)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """`text` as markdown that shows these very characters, on one line, in a table or outside."""
    flat = " ".join(text.split())
    # Entities first, as a backslash before a pipe is read differently by different parsers.
    return _SPECIAL.sub(r"\\\g<0>", flat.replace("&", "&amp;")).replace("|", "&#124;")


def _joined(head: tuple[str, ...], between: str) -> str:
    """The lines of a head in one: teacher and student, and what else there is."""
    pair, rest = " → ".join(filter(None, head[:2])), between.join(filter(None, head[2:]))
    return ", ".join(filter(None, (pair, rest)))


def _mark(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.bold:
        text = f"**{text}**"
    if entry.italic:
        text = f"*{text}*"
    if entry.underlined and text:
        text = f"<ins>{text}</ins>"  # of all tags that underline, GitHub keeps this one
    return text + (f"<sup>{entry.marks}</sup>" if entry.marks else "")
