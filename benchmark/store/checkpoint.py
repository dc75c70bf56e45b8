"""Checkpoint files: a run's id, a checksum and a payload; the file before is kept beside it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.store.atomic import write_atomic

_LONGEST_SEAL = 1000
"""Bytes of the first line: `sha256 HEX ID`. Older files lack the id."""


class DamagedFileError(UserError):
    """The content of a file is not what was written to it."""


class Checkpoint(NamedTuple):
    """A saved state that a run resumes from."""

    payload: bytes
    note: str | None
    """Why this is not the newest checkpoint, for the log; None where it is the newest."""


def save(path: Path, previous: Path, payload: bytes, owner: str) -> None:
    """Write a checkpoint of the run ``owner``; the file that it replaces becomes ``previous``."""
    write_atomic(path, _seal(payload, owner), payload, keep=previous)


def load_newest(path: Path, previous: Path, owner: str) -> Checkpoint | None:
    """Return the newest intact checkpoint of the two; None where neither file exists.

    Raises DamagedFileError where one is damaged, or of another run than ``owner``, and the other
    does not help.
    """
    try:
        payload = _load(path, owner)
    except DamagedFileError as damage:
        payload = _load(previous, owner)
        if payload is None:
            raise
        # Else the next save would keep this one as the previous and drop the intact one.
        path.replace(path.with_suffix(".damaged.pt"))
        return Checkpoint(payload, f"{damage}; going on from {previous.name}")
    if payload is not None:
        return Checkpoint(payload, None)
    payload = _load(previous, owner)
    if payload is None:
        return None
    return Checkpoint(payload, f"{path}: is missing; going on from the one before")


def _load(path: Path, owner: str) -> bytes | None:
    """Return the payload of a checkpoint; None where there is no file."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise DamagedFileError(f"{path}: is not a file")
    try:
        with path.open("rb") as file:
            seal, payload = file.readline(_LONGEST_SEAL), file.read()
    except FileNotFoundError:
        return None
    _, _, written_by = seal.decode(errors="replace").strip().partition(" ")[2].partition(" ")
    if seal != _seal(payload, written_by):
        raise DamagedFileError(f"{path}: is damaged (its checksum does not fit)")
    if written_by not in ("", owner):
        raise DamagedFileError(f"{path}: is a checkpoint of another run, {written_by}")
    return payload


def _seal(payload: bytes, owner: str) -> bytes:
    digest = hashlib.sha256(payload)
    if not owner:  # as older versions wrote it
        return f"sha256 {digest.hexdigest()}\n".encode()
    digest.update(owner.encode())
    return f"sha256 {digest.hexdigest()} {owner}\n".encode()
