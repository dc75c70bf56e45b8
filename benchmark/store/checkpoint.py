"""Checkpoint files: a payload under its checksum, with the file before kept beside it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.store.atomic import write_atomic

_SEAL = b"sha256 %s\n"
_SEAL_LENGTH = len(_SEAL) - len(b"%s") + 64


class DamagedFileError(UserError):
    """The content of a file is not what was written to it."""


class Checkpoint(NamedTuple):
    """A saved state that a run resumes from."""

    payload: bytes
    note: str | None
    """Why this is not the newest checkpoint, for the log; None where it is the newest."""


def save(path: Path, previous: Path, payload: bytes) -> None:
    """Write a checkpoint with its checksum; the file that it replaces becomes ``previous``."""
    seal = _SEAL % hashlib.sha256(payload).hexdigest().encode()
    write_atomic(path, seal, payload, keep=previous)


def load_newest(path: Path, previous: Path) -> Checkpoint | None:
    """Return the newest intact checkpoint of the two; None where neither file exists.

    Raises DamagedFileError where one is damaged and the other does not help.
    """
    try:
        payload = _load(path)
    except DamagedFileError as damage:
        payload = _load(previous)
        if payload is None:
            raise
        # Else the next save would keep this one as the previous and drop the intact one.
        path.replace(path.with_suffix(".damaged.pt"))
        return Checkpoint(payload, f"{damage}; going on from {previous.name}")
    if payload is not None:
        return Checkpoint(payload, None)
    payload = _load(previous)
    if payload is None:
        return None
    return Checkpoint(payload, f"{path}: is missing; going on from the one before")


def _load(path: Path) -> bytes | None:
    """Return the payload of a checkpoint; None where there is no file."""
    try:
        with path.open("rb") as file:
            seal, payload = file.read(_SEAL_LENGTH), file.read()
    except FileNotFoundError:
        return None
    if seal != _SEAL % hashlib.sha256(payload).hexdigest().encode():
        raise DamagedFileError(f"{path}: is damaged (its checksum does not fit)")
    return payload
