"""Claims: a file in a run folder says which process works on the run, so that no other one does.

The holder renews a heartbeat in it. When the holder is dead, another process may take it over.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.processes.identity import machine_id, process_start_time
from benchmark.store.atomic import encode_json, remove_stale_temporaries, write_atomic, write_once
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.fields import parse_fields, read_file

HEARTBEAT_SECONDS = 30.0
"""Seconds between heartbeats."""
STALE_SECONDS = 180.0
"""Seconds without a heartbeat after which a claim from another machine counts as dead."""
MAX_CLOCK_SKEW = 86400.0
"""Seconds by which clocks may differ; a heartbeat farther in the future counts as dead."""
_NAME = "claim.json"


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim: the content of a claim file."""

    host: str
    machine: str
    """Distinguishes boots, containers and cloned machines that share a host name."""
    pid: int
    started: str
    """The start time of the process, as the system gives it; empty where it is unknown."""
    token: str
    since: float
    heartbeat: float
    """`since` and this are seconds since 1970 by the holder's clock."""
    job: str | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)

    def elsewhere(self) -> bool:
        """Whether the holder is on another machine: then only the heartbeat shows that it lives."""
        return self.machine != machine_id()

    def alive(self, now: float) -> bool:
        """Whether the holder may still be at work; ``now`` is in seconds since 1970.

        On the same machine this depends on the process alone: a laptop that slept has old
        heartbeats. On another machine it depends on the heartbeat.
        """
        if self.machine == machine_id():
            return process_start_time(self.pid) in (self.started, "")
        return -MAX_CLOCK_SKEW < now - self.heartbeat < STALE_SECONDS


def claim_run(folder: Path, job: str | None = None) -> Claim | None:
    """Claim a run folder, which is created if missing; None while a live process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, now = folder / _NAME, time.time()
    mine = Holder(
        host=socket.gethostname(),
        machine=machine_id(),
        pid=os.getpid(),
        started=process_start_time(os.getpid()) or "",
        token=secrets.token_hex(8),
        since=now,
        heartbeat=now,
        job=job,
    )
    while not _create(path, mine):
        other = _read(path)
        if other is None:
            continue  # released just now
        if other.alive(now) or not _take_over(path, other, mine):
            return None
        break
    remove_stale_temporaries(folder, STALE_SECONDS)
    return Claim(path, mine)


def read_claim(folder: Path) -> Holder | None:
    """Return the holder of a run folder's claim, alive or dead; None where there is no claim."""
    return _read(folder / _NAME)


class Claim:
    """A claim that this process holds."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path, self._holder = path, holder
        self._lock = threading.Lock()  # the training loop and the `keep_alive` thread call `beat`
        self.lost = False
        """Whether another process has taken the claim: then write nothing more to the folder."""

    def beat(self, progress: Mapping[str, Any] | None = None) -> bool:
        """Renew the heartbeat, and the progress where given; return False if the claim is lost.

        ``progress`` is what the progress table shows: epoch, epochs, phase, top1.
        """
        with self._lock:
            self.lost = self.lost or not self._owned()
            if self.lost:
                return False
            changes: dict[str, Any] = {"heartbeat": time.time()}
            if progress is not None:
                changes["progress"] = dict(progress)
            self._holder = replace(self._holder, **changes)
            write_atomic(self._path, _text(self._holder))
            return True

    def release(self) -> None:
        """Remove the claim file, unless another process holds the claim by now."""
        with self._lock:
            if self._owned():
                self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def keep_alive(self, every: float = HEARTBEAT_SECONDS) -> Iterator[None]:
        """Renew the heartbeat from a thread every ``every`` seconds until the block ends."""
        stopped = threading.Event()

        def beat_on() -> None:
            while not stopped.wait(every):
                # The disk may be full only for a moment. If it stays full, the claim goes stale,
                # and another process may take the run.
                with contextlib.suppress(OSError):
                    self.beat()

        thread = threading.Thread(target=beat_on, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _owned(self) -> bool:
        current = _read(self._path)
        return current is not None and current.token == self._holder.token


def _take_over(path: Path, dead: Holder, mine: Holder) -> bool:
    """Replace a dead claim by ``mine``; return False where another process was faster.

    Only the process that created the heir file, which is named after the dead claim's token, may
    replace that claim, and only if the claim is still there: another heir may have replaced it
    and finished since it was found dead. The heir file of a process that died is taken over in the
    same way.
    """
    heir = path.with_name(f".heir-{dead.token}")
    if not _create(heir, mine):
        other = _read(heir)
        if other is None or other.alive(time.time()) or not _take_over(heir, other, mine):
            return False
    current = _read(path)
    if current is None or current.token != dead.token:
        heir.unlink(missing_ok=True)
        return False
    heir.replace(path)
    return True


def _create(path: Path, holder: Holder) -> bool:
    return write_once(path, _text(holder), one_wins=True)


def _read(path: Path) -> Holder | None:
    """Return the holder; for an unreadable file a holder whose heartbeat is the file's age.

    A file is unreadable while its writer has not filled it, or if the writer died before it did.
    """
    try:
        modified = path.stat().st_mtime
        text = read_file(path)
    except FileNotFoundError:
        return None
    except DamagedFileError:
        text = b""
    try:
        holder = parse_fields(Holder, json.loads(text))
        if not 0 < holder.pid < 2**31:
            raise ValueError("no process")
        return holder if _is_progress(holder.progress) else replace(holder, progress={})
    except (ValueError, RecursionError):
        token = f"unreadable-{modified:.0f}"
        return Holder("?", "?", 0, "", token, since=modified, heartbeat=modified)


def _is_progress(values: Mapping[str, Any]) -> bool:
    """Return whether a claim's progress is what `beat` is given."""
    kinds: dict[str, Any] = {"epoch": int, "epochs": int, "phase": str, "top1": (int, float)}
    known = all(isinstance(value, kinds.get(name, object)) for name, value in values.items())
    epochs = values.get("epochs", 10**9)
    return known and 1 <= epochs <= 10**9 and 0 <= values.get("epoch", 0) <= epochs


def _text(holder: Holder) -> bytes:
    return encode_json(asdict(holder))
