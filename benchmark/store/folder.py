"""Run folders: what each file in them says, and what their presence says about the run."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.config.errors import UserError, explain, suggest
from benchmark.store.atomic import as_json, place_once, sync, write_atomic
from benchmark.store.claim import Claim, Holder, claim, read_claim

__all__ = ["Checkpoint", "Claim", "Damaged", "Holder", "RunFolder", "State", "Store", "claim"]
__all__ += ["explain", "read_claim", "write_atomic"]

State = Literal["done", "failed", "running", "waiting"]
FailureKind = Literal["non-finite", "error", "died"]
"""A loss or a weight that is no number; an exception; a process that ended without a word."""
SCHEMA = 1
_KEPT = {"config.json", "record.json", "student.pt", "predictions.npy"}
_SEAL = b"sha256 %s\n"
_SEAL_LENGTH = len(_SEAL) - len(b"%s") + 64


class Damaged(UserError):  # noqa: N818  (it names what a file is)
    """A file whose content is not what was once written there."""


class Checkpoint(NamedTuple):
    """What a run goes on from."""

    payload: bytes
    note: str | None
    """Why this is not the newest one that was written, to be shown; None where it is."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. Each is written whole; the record comes last and means done."""

    path: Path

    @property
    def config(self) -> Path:
        """What is run, from birth on."""
        return self.path / "config.json"

    @property
    def claim(self) -> Path:
        """Who is at it."""
        return self.path / "claim.json"

    @property
    def checkpoint(self) -> Path:
        """Where to go on from."""
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before, in case the newest is damaged."""
        return self.path / "checkpoint.previous.pt"

    @property
    def weights(self) -> Path:
        """The trained student."""
        return self.path / "student.pt"

    @property
    def predictions(self) -> Path:
        """What it predicts of the test images, and what they are."""
        return self.path / "predictions.npy"

    @property
    def failure(self) -> Path:
        """Why the last attempt came to nothing."""
        return self.path / "failure.json"

    @property
    def record(self) -> Path:
        """What a finished run says."""
        return self.path / "record.json"

    def state(self, now: float | None = None) -> State:
        """Tell how the run stands; ``now`` in seconds since 1970."""
        try:
            names = {entry.name for entry in os.scandir(self.path)}
        except FileNotFoundError:
            return "waiting"
        if self.record.name in names:
            return "done"
        if self.claim.name in names:
            holder = read_claim(self.path)
            if holder is not None and holder.alive(time.time() if now is None else now):
                return "running"
        return "failed" if self.failure.name in names else "waiting"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Make the folder and say what it is for. What it says already must be the same."""
        self.path.mkdir(parents=True, exist_ok=True)
        if place_once(self.config, as_json(config)):
            return
        if self.read_config() != json.loads(as_json(config)):
            raise UserError(
                f"{self.config}: holds another run than its folder's name says; it was edited, or "
                "written by other code. Move the folder away, then run again."
            )

    def read_config(self) -> dict[str, Any]:
        """Return what is run."""
        return _read_json(self.config)

    def write_record(self, record: Mapping[str, Any]) -> bool:
        """Declare the run done, once for all: False where somebody else has done so before."""
        first = place_once(self.record, as_json(record))
        sync(self.path)  # what the run could go on from is removed next
        return first

    def read_record(self) -> dict[str, Any]:
        """Return the record of a run that is done."""
        return _read_json(self.record, SCHEMA)

    def write_failure(
        self,
        kind: FailureKind,
        message: str,
        traceback: str | None = None,
        epoch: int | None = None,
        phase: str | None = None,
    ) -> None:
        """Say why this attempt came to nothing, and in which epoch (from 1) of which phase."""
        fields = {"kind": kind, "message": message, "traceback": traceback}
        place = {"epoch": epoch, "phase": phase, "when": datetime.now(UTC).isoformat()}
        failure = {"schema": SCHEMA, "id": self.path.name, **fields, **place}
        write_atomic(self.failure, as_json(failure))

    def read_failure(self) -> dict[str, Any]:
        """Return why the last attempt came to nothing."""
        return _read_json(self.failure, SCHEMA)

    def clear_failure(self) -> None:
        """Begin another attempt."""
        self.failure.unlink(missing_ok=True)

    def save_checkpoint(self, payload: bytes) -> None:
        """Keep where the run has got to, sealed with a checksum; the one before stays beside it."""
        seal = _SEAL % hashlib.sha256(payload).hexdigest().encode()
        write_atomic(self.checkpoint, seal, payload, keep=self.previous_checkpoint)

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest sound checkpoint, None where none was written.

        Raises Damaged where there are some and none is sound.
        """
        try:
            payload = _sealed(self.checkpoint)
        except Damaged as damage:
            payload = _sealed(self.previous_checkpoint)
            if payload is None:
                raise
            # Out of the way, lest the next save put it in place of the sound one.
            self.checkpoint.replace(self.checkpoint.with_suffix(".damaged.pt"))
            return Checkpoint(payload, f"{damage}; going on from {self.previous_checkpoint.name}")
        if payload is not None:
            return Checkpoint(payload, None)
        payload = _sealed(self.previous_checkpoint)
        if payload is None:
            return None
        return Checkpoint(payload, f"{self.checkpoint}: is missing; going on from the one before")

    def discard_checkpoints(self) -> None:
        """Free the space of what a finished run needs no more."""
        for path in self.path.glob("checkpoint*.pt"):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove from a finished run's folder what its writer was killed too early to remove."""
        names = {entry.name for entry in os.scandir(self.path)}
        if self.record.name not in names or names <= _KEPT:
            return
        mine = claim(self.path)  # which sweeps, and is None while the writer is still at it
        if mine is None:
            return
        self.discard_checkpoints()
        self.clear_failure()
        for heir in self.path.glob(".heir-*"):
            heir.unlink(missing_ok=True)
        mine.release()

    def save_weights(self, payload: bytes) -> str:
        """Keep the trained student; return the sha256, in hex, that its record is to name."""
        # Those that are there belong to the record that is there, whoever comes late.
        if not self.record.exists():
            write_atomic(self.weights, payload)
        return hashlib.sha256(payload).hexdigest()

    def save_predictions(self, payload: bytes) -> None:
        """Keep what the trained student predicts; to be written before the record, as weights."""
        if not self.record.exists():
            write_atomic(self.predictions, payload)

    def read_weights(self, sha256: str) -> bytes:
        """Return the trained student that a record speaks of."""
        remedy = f"Remove {self.record} to have the run done again."
        try:
            payload = self.weights.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{self.weights}: is missing, and its run is done. {remedy}") from None
        if hashlib.sha256(payload).hexdigest() != sha256:
            raise Damaged(f"{self.weights}: is not what its record speaks of. {remedy}")
        return payload


@dataclass(frozen=True)
class Store:
    """All runs under one results folder."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist yet."""
        return RunFolder(self.root / "runs" / run_id)

    def states(self, run_ids: Iterable[str]) -> dict[str, State]:
        """Tell how each run stands: one listing a folder, so thousands take a moment."""
        now = time.time()
        return {run_id: self.run(run_id).state(now) for run_id in run_ids}

    def tidy(self, run_ids: Iterable[str]) -> None:
        """Remove what killed writers have left of runs that are done."""
        for run_id in run_ids:
            if self.run(run_id).path.is_dir():
                self.run(run_id).tidy()


def _sealed(path: Path) -> bytes | None:
    """Return what ``save_checkpoint`` put under its seal; None where there is no file."""
    try:
        with path.open("rb") as file:
            seal, payload = file.read(_SEAL_LENGTH), file.read()
    except FileNotFoundError:
        return None
    if seal != _SEAL % hashlib.sha256(payload).hexdigest().encode():
        raise Damaged(f"{path}: is damaged (its checksum does not fit)")
    return payload


def _read_json(path: Path, schema: int | None = None) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: is missing") from None
    except ValueError as error:
        raise Damaged(f"{path}: is damaged ({error}). Remove it, then run again.") from None
    if not isinstance(data, dict) or schema not in (None, data.get("schema")):
        raise UserError(
            f"{path}: is not what this version writes (schema {schema}). Move it away, then run "
            "again; or use the version that wrote it."
        )
    return data


def run_named(results: Path, word: str) -> str:
    """Return the run whose id this is, or begins so. Raises UserError where several or none do."""
    there = sorted(path.name for path in (results / "runs").glob("*/"))
    found = [run_id for run_id in there if run_id.startswith(word)]
    if word in found or len(found) == 1:
        return word if word in found else found[0]
    if not found:
        raise UserError(f"{word}: {suggest(word, there[:20], 'run', f'In {results} there are')}")
    raise UserError(f"{word}: {len(found)} runs begin so: {', '.join(found[:5])}, ...")
