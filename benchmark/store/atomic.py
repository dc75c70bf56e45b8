"""Files that are whole or absent, whatever happens while they are written."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmark.processes.identity import machine, start_of

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_SLOWEST = 3600.0  # seconds that no write on another machine takes, whatever it writes


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


def place_once(path: Path, data: bytes, *, one_wins: bool = False) -> bool:
    """Like ``write_atomic``; but where a file is already, change nothing and return False.

    A file system without hard links cannot keep all of that: there, the file is still whole, but
    two that come at the same instant may both be told True. With ``one_wins`` only one is, and one
    that is killed at that instant leaves an empty file.
    """
    with _temporary(path, [data]) as temp:
        try:
            os.link(temp, path)
        except FileExistsError:
            # A network file system may say so to a request that it granted and then heard again.
            return temp.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _place_unlinked(temp, path, one_wins)
    return True


def _place_unlinked(temp: Path, path: Path, one_wins: bool) -> bool:
    if one_wins:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
    elif path.exists():
        return False
    try:
        temp.replace(path)
    except OSError:
        if one_wins:
            path.unlink(missing_ok=True)
        raise
    return True


@contextlib.contextmanager
def _temporary(path: Path, parts: Iterable[bytes | memoryview]) -> Iterator[Path]:
    temp = path.with_name(f".{path.name}.{_writer(os.getpid())}.{secrets.token_hex(4)}.tmp")
    try:
        sweep(path.parent, _SLOWEST, path.name)
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
        with contextlib.suppress(OSError):  # the file is in place by now: this one can wait
            temp.unlink(missing_ok=True)


def sweep(folder: Path, age: float, name: str = "") -> None:
    """Remove what the writers of a folder's files, or of the one named, died too early to remove.

    Which of this machine's writers are dead is known; one from elsewhere counts as dead when it has
    written nothing for ``age`` seconds. What cannot be removed is left: this is mere tidiness.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f".{name}") and entry.name.endswith(".tmp"):
                # Its writer may just have come to its end.
                with contextlib.suppress(OSError):
                    if _dead(entry, age):
                        Path(entry).unlink()


def _dead(leftover: os.DirEntry[str], age: float) -> bool:
    writer = leftover.name.split(".")[-3:][0]
    pid = writer.split("-")[1] if writer.startswith(f"{_here()}-") else ""
    if pid.isdecimal():
        return writer != _writer(int(pid))
    return time.time() - leftover.stat().st_mtime >= age


def _writer(pid: int) -> str:
    """Name a process, so that no later one will have that name."""
    return f"{_here()}-{pid}-{start_of(pid)}"


def _here() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def sync(folder: Path) -> None:
    """Have the names in a folder outlive a crash of the machine, before anything relies on them."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def as_json(value: object) -> bytes:
    """Return readable JSON text. NaN and infinity, which JSON has not, are a ValueError."""
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"
