"""Atomic writes: a reader finds a file complete or not at all, even after a crash."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmark.processes.identity import machine_id, process_start_time

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_MAX_WRITE_SECONDS = 3600.0  # a temporary file of another machine that is older was abandoned


def write_atomic(path: Path, *parts: bytes | memoryview, keep: Path | None = None) -> None:
    """Write the parts, joined, to ``path``. A reader sees the old file or the new, never a mixture.

    The old file is moved to ``keep`` where that is given. The folder must exist. Raises an OSError
    that names ``path``; then the old file is unchanged and no temporary file is left.
    """
    with _temporary(path, parts) as temp:
        if keep is not None:
            with contextlib.suppress(FileNotFoundError):
                path.replace(keep)
        temp.replace(path)


def write_once(path: Path, data: bytes, *, one_wins: bool = False) -> bool:
    """Write ``data`` to ``path`` atomically, unless the file exists; return whether it was written.

    Of several processes that write at once, one gets True. On a file system without hard links
    this holds only with ``one_wins``, where a process that is killed at the wrong moment leaves an
    empty file. Without it, two processes may both get True; the file is complete in either case.
    """
    with _temporary(path, [data]) as temp:
        try:
            os.link(temp, path)
        except FileExistsError:
            # A network file system may have created the link and report this when it repeats the
            # request. Then the temporary file has two names.
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
        remove_stale_temporaries(path.parent, _MAX_WRITE_SECONDS, path.name)
        with temp.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            # Without it, a crash of the machine may leave the new name with an empty file.
            os.fsync(file.fileno())
        yield temp
    except OSError as error:
        error.filename = str(path)  # the system names the temporary file or none
        raise
    finally:
        with contextlib.suppress(OSError):  # the file itself is written: an error here is harmless
            temp.unlink(missing_ok=True)


def remove_stale_temporaries(folder: Path, age: float, name: str = "") -> None:
    """Remove temporary files of dead writers from a folder; with ``name``, only those of that file.

    A writer on this machine is looked up by its process id. One on another machine counts as dead
    when it has written nothing for ``age`` seconds. Files that cannot be removed are left.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f".{name}") and entry.name.endswith(".tmp"):
                # Its writer may remove it at the same moment.
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
    """Return a name for a process that no later process will have."""
    return f"{_here()}-{pid}-{process_start_time(pid)}"


def _here() -> str:
    return hashlib.sha256(machine_id().encode()).hexdigest()[:8]


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that the names in it survive a crash of the machine."""
    with contextlib.suppress(OSError):  # not every file system supports it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def encode_json(value: object) -> bytes:
    """Return indented JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"
