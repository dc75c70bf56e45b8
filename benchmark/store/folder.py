"""The folder of a run: its files, and the state of the run that follows from which files exist.

`record.json` exists: done. Else a live `claim.json`: running. Else `failure.json`: failed. Else the
run waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.config.errors import UserError, suggest
from benchmark.store import checkpoint
from benchmark.store.atomic import (
    encode_json,
    remove_stale_temporaries,
    sync_folder,
    write_atomic,
    write_once,
)
from benchmark.store.checkpoint import Checkpoint, DamagedFileError
from benchmark.store.claim import STALE_SECONDS, claim_run, read_claim
from benchmark.store.fields import read_file, read_json

if TYPE_CHECKING:  # importing it imports pydantic, which not every user of a folder needs
    from benchmark.store.record import Failure, FailureKind, Record

State = Literal["done", "failed", "running", "waiting"]
SCHEMA: Literal[1] = 1
_KEPT = {"config.json", "record.json", "student.pt", "predictions.npy"}


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. Each is written whole; the record comes last and means done."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration of the run, written when the folder is made."""
        return self.path / "config.json"

    @property
    def claim(self) -> Path:
        """The claim of the process that works on the run."""
        return self.path / "claim.json"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before, in case the newest is damaged."""
        return self.path / "checkpoint.previous.pt"

    @property
    def weights(self) -> Path:
        """The weights of the network that a finished run deploys."""
        return self.path / "student.pt"

    @property
    def predictions(self) -> Path:
        """(2, N) uint16: the predicted class of each test image, and its label."""
        return self.path / "predictions.npy"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed."""
        return self.path / "failure.json"

    @property
    def record(self) -> Path:
        """The record of a finished run."""
        return self.path / "record.json"

    def state(self, now: float | None = None) -> State:
        """Return the state of the run. ``now`` is in seconds since 1970."""
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
        """Make the folder and write the run's configuration.

        Raises UserError where the folder holds another configuration already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if write_once(self.config, encode_json(config)):
            return
        if self.read_config() != json.loads(encode_json(config)):
            raise UserError(
                f"{self.config}: holds another run than its folder's name says; it was edited, or "
                "written by other code. Move the folder away, then run again."
            )

    def read_config(self) -> dict[str, Any]:
        return _read_json(self.config)

    def finish(self, record: Record, weights: bytes, predictions: bytes | None) -> bool:
        """Write weights, predictions and, last, the record, whose existence means done.

        Then remove the checkpoints. Returns False, and changes nothing but these, where another
        process finished the run before.
        """
        self.save_weights(weights)
        if predictions is not None:
            self.save_predictions(predictions)
        first = self.write_record(record.as_json())
        self.discard_checkpoints()
        return first

    def save_weights(self, payload: bytes) -> str:
        """Write the weights file, unless the run is done; return its sha256 in hex."""
        # A process that comes late must not replace the file that the record describes.
        if not self.record.exists():
            write_atomic(self.weights, payload)
        return hashlib.sha256(payload).hexdigest()

    def save_predictions(self, payload: bytes) -> None:
        """Write the predictions file, unless the run is done."""
        if not self.record.exists():
            write_atomic(self.predictions, payload)

    def write_record(self, record: Mapping[str, Any]) -> bool:
        """Write the record, which marks the run as done; return False where it is done already."""
        first = write_once(self.record, encode_json(record))
        sync_folder(self.path)  # the checkpoints are removed next: the record must survive a crash
        return first

    def correct_record(self, record: Mapping[str, Any]) -> None:
        """Replace the record by one that says something else of the same weights."""
        write_atomic(self.record, encode_json(record))

    def read_record(self) -> dict[str, Any]:
        """Return the JSON content of the record.

        Raises UserError where it is missing or has another schema, DamagedFileError where it is no
        JSON.
        """
        return _read_json(self.record, SCHEMA)

    def load_record(self) -> Record:
        """Return the record, checked. Raises UserError where there is none, or not of this run."""
        from benchmark.store.loading import load_record

        try:
            return load_record(self.record)
        except FileNotFoundError:
            raise UserError(f"{self.record}: is missing") from None

    def read_weights(self, sha256: str) -> bytes:
        """Return the weights file.

        Raises UserError where it is missing, DamagedFileError where its hash is not ``sha256``, the
        one in the record.
        """
        remedy = f"Remove {self.record} to have the run done again."
        try:
            payload = read_file(self.weights)
        except FileNotFoundError:
            raise UserError(f"{self.weights}: is missing, and its run is done. {remedy}") from None
        if hashlib.sha256(payload).hexdigest() != sha256:
            raise DamagedFileError(
                f"{self.weights}: is not the file that its record describes. {remedy}"
            )
        return payload

    def write_failure(
        self,
        kind: FailureKind,
        message: str,
        traceback: str | None = None,
        epoch: int | None = None,
        phase: str | None = None,
    ) -> None:
        """Write why this attempt failed, and in which epoch (from 1) of which phase."""
        from benchmark.store.record import Failure

        failure = Failure(
            schema=SCHEMA,
            id=self.path.name,
            kind=kind,
            message=message,
            traceback=traceback,
            epoch=epoch,
            phase=phase,
            when=datetime.now(UTC).isoformat(),
        )
        write_atomic(self.failure, encode_json(asdict(failure)))

    def read_failure(self) -> dict[str, Any]:
        """Return the JSON content of the failure. Raises UserError where it is missing."""
        return _read_json(self.failure, SCHEMA)

    def load_failure(self) -> Failure:
        """Return the failure, checked. Raises UserError where it is missing or damaged."""
        from benchmark.store.loading import load_failure

        try:
            return load_failure(self.failure)
        except FileNotFoundError:
            raise UserError(f"{self.failure}: is missing") from None

    def clear_failure(self) -> None:
        """Remove the failure of an earlier attempt."""
        self.failure.unlink(missing_ok=True)

    def save_checkpoint(self, payload: bytes) -> None:
        """Write a checkpoint with the run's id and a checksum; keep the one before beside it."""
        checkpoint.save(self.checkpoint, self.previous_checkpoint, payload, self.path.name)

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; None where none was written.

        Raises DamagedFileError where there are checkpoints and none is intact and of this run.
        """
        return checkpoint.load_newest(self.checkpoint, self.previous_checkpoint, self.path.name)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints, which a finished run no longer needs."""
        for path in self.path.glob("checkpoint*.pt"):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove leftovers from the folder of a finished run whose writer was killed."""
        names = {entry.name for entry in os.scandir(self.path)}
        if self.record.name not in names or names <= _KEPT:
            return
        # Claiming also removes temporary files; it fails while the writer is still alive.
        mine = claim_run(self.path)
        if mine is None:
            return
        self.discard_checkpoints()
        self.clear_failure()
        for heir in self.path.glob(".heir-*"):
            heir.unlink(missing_ok=True)
        mine.release()


@dataclass(frozen=True)
class Store:
    """All runs under one results folder."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run; it need not exist."""
        return RunFolder(self.root / "runs" / run_id)

    def states(self, run_ids: Iterable[str]) -> dict[str, State]:
        """Return the state of each run. It costs one directory listing per run."""
        now = time.time()
        return {run_id: self.run(run_id).state(now) for run_id in run_ids}

    def tidy(self, run_ids: Iterable[str]) -> None:
        """Remove what killed writers left in the folders of finished runs and of job files."""
        remove_stale_temporaries(self.root / "jobs", STALE_SECONDS)
        for run_id in run_ids:
            if self.run(run_id).path.is_dir():
                self.run(run_id).tidy()


def _read_json(path: Path, schema: int | None = None) -> dict[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing") from None
    except DamagedFileError as error:
        reason = str(error).removeprefix(f"{path}: ")
        message = f"{path}: is damaged: it {reason}. Remove it, then run again."
        raise DamagedFileError(message) from None
    if not isinstance(data, dict) or schema not in (None, data.get("schema")):
        raise UserError(
            f"{path}: is not what this version writes (schema {schema}). Move it away, then run "
            "again; or use the version that wrote it."
        )
    return data


def find_run_id(results: Path, prefix: str) -> str:
    """Return the id of the only run in a results folder whose id begins with ``prefix``.

    Raises UserError where no run or several runs do.
    """
    run_ids = sorted(path.name for path in (results / "runs").glob("*/"))
    matches = [run_id for run_id in run_ids if run_id.startswith(prefix)]
    if prefix in matches or len(matches) == 1:
        return prefix if prefix in matches else matches[0]
    if not matches:
        hint = suggest(prefix, run_ids[:20], "run", f"In {results} there are")
        raise UserError(f"{prefix}: {hint}")
    raise UserError(f"{prefix}: {len(matches)} runs begin so: {', '.join(matches[:5])}, ...")
