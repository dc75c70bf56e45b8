"""The terminal that commands print to, and the exit codes they return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def tell(lines: Iterable[str], console: Console) -> None:
    """Print lines as they are; of ten thousand at once, rich needs a tenth of the time."""
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def make_console() -> Console:
    """Standard output: as wide as a terminal, or as a log likes it."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


DONE, SOME_FAILED, USERS_MISTAKE, INTERRUPTED = 0, 1, 2, 130
