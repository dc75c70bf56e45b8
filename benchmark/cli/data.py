"""The verb `data`: what there is, where it is looked for, what is missing; and getting it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.cli.console import DONE, make_console
from benchmark.config.errors import UserError
from benchmark.data import SOURCES, find
from benchmark.data.source import Source

VARIABLE = "KD_DATA"
DEFAULT = Path(__file__).resolve().parents[2] / "data"


def data(options: argparse.Namespace) -> int:
    """List the data sets and which of their files are missing, or prepare some."""
    administer(options.action, options.names, options.data_root, make_console())
    return DONE


def administer(action: str, names: Sequence[str], root: Path, console: Console) -> None:
    """Do what the verb `data` is told to. Raises ``UserError`` with all that went wrong."""
    for name in names:
        find(name, root)  # a UserError of its own where there is none
    if action == "status":
        status(names or sorted(SOURCES), root, console)
    elif names:
        prepare(names, root, console)
    else:
        raise UserError(f"data prepare: say which, of {', '.join(sorted(SOURCES))}")


def whence(root: Path) -> str:
    """Say what made this the data root."""
    if os.environ.get(VARIABLE) == str(root):
        return f"by ${VARIABLE}"
    return "the default; --data-root or $KD_DATA change it" if root == DEFAULT else "by --data-root"


def status(names: Sequence[str], root: Path, console: Console) -> None:
    """Show a line for each data set; nothing is read, downloaded or decoded."""
    console.print(f"looking in {root.resolve()}, {whence(root)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("data set", "state", "where", "missing", "what `data prepare` does"):
        table.add_column(heading, overflow="fold")
    for name in names:
        found = find(name, root).look(root)
        state = "missing" if found.missing else "to prepare" if found.todo else "ready"
        table.add_row(name, state, found.place, few(found.missing), found.todo)
    console.print(table)


def few(names: Sequence[str], shown: int = 2) -> str:
    """Join names, of many the first ones."""
    more = [f"{len(names) - shown} more"] if len(names) > shown else []
    return ", ".join([*names[:shown], *more])


def prepare(names: Sequence[str], root: Path, console: Console) -> None:
    """Get, check and decode data sets; what is wrong with one does not keep the next from it."""
    problems = []
    for name in names:
        try:
            console.print(f"{name}: {provide(find(name, root), root)}", soft_wrap=True)
        except UserError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("\n".join(problems))


def provide(source: Source, root: Path) -> str:
    """Load a data set and verify it; say what it holds."""
    train, test = source.load(root)
    source.verify(root)
    return (
        f"ready and checked: {len(train.labels):,} train and {len(test.labels):,} test images of "
        f"{source.size} px in {source.classes} classes"
    )
