"""Errors and messages for users whose input cannot be used. Imports only the standard library."""

import difflib
import errno
from collections.abc import Iterable
from typing import NamedTuple

KeyPath = tuple[str | int, ...]
"""Path of a value in a file: ("methods", "kd", "temperature"). List items count from 0."""


MAX_NAMES = 60
"""How many names a message lists."""


class UserError(ValueError):
    """A mistake of the user: printed as one message without traceback; the exit code is 2."""


class Problem(NamedTuple):
    """One mistake in a file, and the path of the value that is wrong."""

    where: KeyPath
    message: str


def suggest(word: object, options: Iterable[str], noun: str, intro: str = "There are") -> str:
    """Return e.g. `no such method. Did you mean 'ab'? There are: ab, at` for an unknown name."""
    names = sorted(options)
    listed = ", ".join([*names[:MAX_NAMES], "..."] if len(names) > MAX_NAMES else names)
    close = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"no such {noun}.{hint} {intro}: {listed or 'none'}"


def explain_os_error(error: OSError) -> str:
    """Return a sentence for users: what the system refused, for which file, and what to do."""
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
