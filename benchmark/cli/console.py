"""The console that commands print to, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

DONE, SOME_FAILED, USERS_MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


def make_console() -> Console:
    """Return a console for standard output: as wide as the terminal, 120 columns in a file."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def print_lines(lines: Iterable[str], console: Console) -> None:
    """Print lines without styling or wrapping, in one call: rich is slow line by line."""
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
