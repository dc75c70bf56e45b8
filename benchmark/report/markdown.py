"""The table as GitHub-flavoured markdown."""

import re

from tabulate import tabulate

from benchmark.report.layout import Entry, lay_out, letter
from benchmark.report.table import Table

# An underscore inside a word (wrn_40_2) is plain text in GitHub's dialect: left readable.
_SPECIAL = re.compile(r"[\\`*\[\]{}<>~$!#@]|:(?=\S)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def render(table: Table) -> str:
    """The whole file: title, table, caption, footnotes."""
    grid = lay_out(table)
    heads = [escape(" → ".join(head)) for head in grid.heads]
    rows = [[_mark(entry) for entry in line] for block in grid.blocks for line in block]
    sides = ("left", *("right",) * (len(heads) - 1))
    body = tabulate(rows, heads, "pipe", colalign=sides, disable_numparse=True)
    parts = [f"## {escape(table.title)}", body, escape(table.caption)]
    parts += [f"<sup>{letter(i)}</sup> {escape(note)}" for i, note in enumerate(table.notes)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """`text` as markdown that shows these very characters, on one line, in a table or outside."""
    flat = " ".join(text.split())
    # Entities first, as a backslash before a pipe is read differently by different parsers.
    return _SPECIAL.sub(r"\\\g<0>", flat.replace("&", "&amp;")).replace("|", "&#124;")


def _mark(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.bold:
        text = f"**{text}**"
    if entry.italic:
        text = f"*{text}*"
    return text + (f"<sup>{entry.marks}</sup>" if entry.marks else "")
