"""The command `teachers`: import a checkpoint from elsewhere."""

from __future__ import annotations

import argparse

from rich.console import Console

from benchmark.cli.console import DONE, make_console
from benchmark.job.import_teacher import bring_in
from benchmark.store.folder import RunFolder, Store


def teachers(options: argparse.Namespace) -> int:
    """Import a teacher's checkpoint: it is read safely, and measured at once."""
    folder = bring_in(
        options.file,
        options.network,
        options.dataset,
        options.published,
        Store(options.results),
        options.data_root,
    )
    print_teacher(folder, make_console())
    return DONE


def print_teacher(folder: RunFolder, console: Console) -> None:
    """Print how good the teacher is, and the lines of a suite that use it."""
    made = folder.read_record()
    run, top1, published = made["config"], made["result"]["top1"], made["published"]
    said = "" if published is None else f", published {published:.2f}"
    console.print(f"{folder.path.name}: test top-1 {top1:.2f}{said}", soft_wrap=True)
    if made["remark"]:
        console.print(f"{made['remark'].capitalize()}: every table that rests on it will say so.")
    console.print(
        f"In a suite:\nteacher:\n  imported:\n    {run['student']}: {run['weights']}",
        soft_wrap=True,
    )
