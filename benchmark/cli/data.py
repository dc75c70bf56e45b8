"""The verb `data`: show where each data set is and what is missing, or prepare some of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.cli.console import DONE, make_console
from benchmark.cli.shared_options import DATA_VARIABLE, DEFAULT_DATA_ROOT
from benchmark.config.errors import UserError
from benchmark.data import SOURCES, find_data_set
from benchmark.data.files.class_folders import print_lines
from benchmark.data.sets.imagefolder import PREFIX, UNKNOWN_SIZE, find_folders
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
        print_dataset_status(names or [*sorted(SOURCES), *find_folders(root)], root, console)
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
        table.add_row(*map(Text, status_row(name, root)))
    console.print(table)


def status_row(name: str, root: Path) -> tuple[str, str, str, str, str]:
    """Return a data set's name, state, location, missing files, and what to do."""
    if name.endswith(f"@{UNKNOWN_SIZE}"):
        path = name.removeprefix(PREFIX).removesuffix(f"@{UNKNOWN_SIZE}")
        return name, "to prepare", path, "", "choose SIZE, the pixels of a side"
    try:
        presence = find_data_set(name, root).presence(root)
    except (UserError, OSError) as error:
        return name, "unusable", "", "", str(error)
    state = "missing" if presence.missing else "to prepare" if presence.todo else "ready"
    missing = shorten_list(presence.missing)
    return name, state, presence.location, missing, presence.todo


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
    ready_before = not source.presence(root).todo
    train, test = source.load(root)
    source.verify(root)
    if ready_before:  # else they were printed when the images were decoded
        print_lines(source.ignored)
    return (
        f"ready and checked: {len(train.labels):,} train and {len(test.labels):,} test images of "
        f"{source.size} px in {source.classes} classes"
    )
