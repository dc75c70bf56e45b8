"""Checksums of files: of each content once in a process, however often it is opened."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256_once(path: Path) -> str:
    """Return the sha256 of a file; if this process has read the same file before, from memory.

    A file is the same if path, inode, size and time of the last change are.
    """
    status = path.stat()
    return _cached_sha256(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _cached_sha256(path: Path, inode: int, size: int, changed: int) -> str:
    return file_sha256(path)


def json_sha256(value: object) -> str:
    """Return the sha256 of plain values, such as names, sizes and labels of files."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
