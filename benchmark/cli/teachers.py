"""The verb `teachers`: import a teacher's checkpoint from elsewhere."""

from __future__ import annotations

import argparse

from rich.console import Console

from benchmark.cli.console import DONE, make_console
from benchmark.job.import_teacher import import_checkpoint
from benchmark.store.folder import RunFolder, Store


def teachers(options: argparse.Namespace) -> int:
    """Import a teacher's checkpoint: load its weights safely and measure its accuracy."""
    folder, remarks = import_checkpoint(
        options.file,
        options.network,
        options.dataset,
        options.published,
        Store(options.results),
        options.data_root,
        options.weights,
    )
    console = make_console()
    print_teacher(folder, console)
    for remark in remarks:
        console.print(f"note: {remark}", soft_wrap=True)
    return DONE


def print_teacher(folder: RunFolder, console: Console) -> None:
    """Print the teacher's accuracy and the lines that use it in a suite."""
    record = folder.load_record()
    run, top1, published = record.config, record.result.top1, record.published
    comparison = "" if published is None else f", published {published:.2f}"
    console.print(f"{folder.path.name}: test top-1 {top1:.2f}{comparison}", soft_wrap=True)
    if record.remark:
        console.print(f"{record.remark.capitalize()}: every table with this teacher will note it.")
    console.print(
        f"To use it, write in a suite:\nteacher:\n  imported:\n    {run['student']}: "
        f"{run['weights']}",
        soft_wrap=True,
    )
