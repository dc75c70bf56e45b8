"""The verb `data`: show where each data set is and what is missing, or prepare some of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.cli.console import DONE, make_console
from benchmark.cli.options import DATA_VARIABLE, DEFAULT_DATA_ROOT
from benchmark.config.errors import UserError
from benchmark.data import SOURCES, find_data_set
from benchmark.data.source import Source


def data(options: argparse.Namespace) -> int:
    """List the data sets and which of their files are missing, or prepare some."""
    run_action(options.action, options.names, options.data_root, make_console())
    return DONE


def run_action(action: str, names: Sequence[str], root: Path, console: Console) -> None:
    """Run `data status` or `data prepare`. Raises UserError that lists all problems."""
    for name in names:
        find_data_set(name, root)  # raises UserError for an unknown name
    if action == "status":
        print_dataset_status(names or sorted(SOURCES), root, console)
    elif names:
        prepare_datasets(names, root, console)
    else:
        raise UserError(f"data prepare: name at least one data set: {', '.join(sorted(SOURCES))}")


def print_dataset_status(names: Sequence[str], root: Path, console: Console) -> None:
    """Print a table with a row for each data set, without downloading or decoding anything."""
    console.print(f"data folder: {root.resolve()} ({data_root_origin(root)})", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("data set", "state", "location", "missing", "what to do"):
        table.add_column(heading, overflow="fold")
    for name in names:
        found = find_data_set(name, root).presence(root)
        state = "missing" if found.missing else "to prepare" if found.todo else "ready"
        table.add_row(name, state, found.location, shorten_list(found.missing), found.todo)
    console.print(table)


def data_root_origin(root: Path) -> str:
    """Explain why this is the data folder."""
    if os.environ.get(DATA_VARIABLE) == str(root):
        return f"from ${DATA_VARIABLE}"
    if root == DEFAULT_DATA_ROOT:
        return f"the default; change it with --data-root or ${DATA_VARIABLE}"
    return "from --data-root"


def shorten_list(names: Sequence[str], limit: int = 2) -> str:
    """Join names by commas, and replace those after the first ``limit`` by their number."""
    more = [f"{len(names) - limit} more"] if len(names) > limit else []
    return ", ".join([*names[:limit], *more])


def prepare_datasets(names: Sequence[str], root: Path, console: Console) -> None:
    """Download, check and decode data sets; a problem with one does not stop the others.

    Raises UserError that lists the problems of all.
    """
    problems = []
    for name in names:
        try:
            console.print(
                f"{name}: {load_and_verify(find_data_set(name, root), root)}", soft_wrap=True
            )
        except UserError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("\n".join(problems))


def load_and_verify(source: Source, root: Path) -> str:
    """Load and verify a data set; return a sentence about what it contains."""
    train, test = source.load(root)
    source.verify(root)
    return (
        f"ready and checked: {len(train.labels):,} train and {len(test.labels):,} test images of "
        f"{source.size} px in {source.classes} classes"
    )
