"""Files that are whole or absent, whatever happens while they are written."""

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def write_atomic(path: Path, *parts: bytes | memoryview, keep: Path | None = None) -> None:
    """Put the parts, joined, at ``path``: a reader sees the old file or the new, never a torn one.

    ``keep`` is where the old file goes. The folder must exist. When this fails, it is with an
    OSError that names ``path``; the old file stays and nothing is left behind.
    """
    with _temporary(path, parts) as temp:
        if keep is not None:
            with contextlib.suppress(FileNotFoundError):
                path.replace(keep)
        temp.replace(path)


def place_once(path: Path, data: bytes) -> bool:
    """Like ``write_atomic``; but where a file is already, change nothing and return False."""
    with _temporary(path, [data]) as temp:
        try:
            os.link(temp, path)
        except FileExistsError:
            # A network file system may say so to a request that it granted and then heard again.
            return temp.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # The next best: a rival would have to come between these two lines.
            if path.exists():
                return False
            temp.replace(path)
    return True


@contextlib.contextmanager
def _temporary(path: Path, parts: Iterable[bytes | memoryview]) -> Iterator[Path]:
    temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temp.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            # Else a crash of the machine may leave the new name with none of the content.
            os.fsync(file.fileno())
        yield temp
    except OSError as error:
        error.filename = str(path)  # the system names the temporary file, or none
        raise
    finally:
        temp.unlink(missing_ok=True)


def sweep(folder: Path, age: float) -> None:
    """Remove what writers killed at least ``age`` seconds ago have left behind in a folder."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # its writer has just come to its end
            if time.time() - leftover.stat().st_mtime >= age:
                leftover.unlink()


def as_json(value: object) -> bytes:
    """Return readable JSON text. NaN and infinity, which JSON has not, are a ValueError."""
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


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
