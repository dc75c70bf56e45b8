"""What is said to a user whose input cannot be used. Imports next to nothing, so anyone may."""

import difflib
import errno
from collections.abc import Iterable
from typing import NamedTuple

Place = tuple[str | int, ...]
"""Where a value stands in a file: ("methods", "kd", "temperature"); a list's items count from 0."""


class UserError(ValueError):
    """The user's mistake: one readable message, shown without traceback, exit code 2."""


class Problem(NamedTuple):
    """One thing that is wrong with a file, and where."""

    where: Place
    message: str


def suggest(word: object, options: Iterable[str], noun: str, intro: str = "There are") -> str:
    """What to say about an unknown name: `no such method. Did you mean 'ab'? There are: ab, at`."""
    names = sorted(options)
    close = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"no such {noun}.{hint} {intro}: {', '.join(names) or 'none'}"


def explain(error: OSError) -> str:
    """Say in a sentence for users what the system refused, where, and what to do about it."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no room left to write{where}: {error.strerror}. Free some space or raise the quota, "
            "then run the same command again: finished runs stay finished."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"not allowed to read or write here{where}: {error.strerror}. Give yourself permission "
            "or choose another folder, then run the same command again."
        )
    return f"the system refused{where}: {error.strerror or error}"
