"""The console that commands print to, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

DONE, SOME_FAILED, USERS_MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
MIN_WIDTH = 20
"""Columns. A terminal that says it has fewer, as 0 or 1, does not know its width."""


def make_console() -> Console:
    """Return a console for standard output: as wide as the terminal, 120 columns in a file.

    All text is literal: a title or a path may hold `[/b]` or `:x:`.
    """
    from rich.console import Console

    def console(width: int | None = None) -> Console:
        return Console(highlight=False, markup=False, emoji=False, width=width)

    screen = console()
    usable = screen.is_terminal and screen.width >= MIN_WIDTH
    return screen if usable else console(120)


def print_lines(lines: Iterable[str], console: Console) -> None:
    """Print lines without styling or wrapping, in one call: rich is slow line by line."""
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
