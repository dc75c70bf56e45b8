"""Who is working on a run: one claim a run folder, with a heartbeat; a dead one may be taken."""

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

from benchmark.processes.identity import machine, start_of
from benchmark.store.atomic import as_json, place_once, sweep, write_atomic

BEAT = 30.0
"""Seconds between heartbeats."""
STALE = 180.0
"""Seconds without a heartbeat after which a claim from elsewhere counts as dead."""
WRONG = 86400.0
"""Seconds that no clock is ahead of another; a heartbeat from farther off is a broken clock's."""
_NAME = "claim.json"


@dataclass(frozen=True)
class Holder:
    """What a claim file says."""

    host: str
    machine: str
    """Tells apart what can share a host name: boots, containers, cloned machines."""
    pid: int
    started: str
    """When that process began, in the system's terms; empty where it does not say."""
    token: str
    since: float
    heartbeat: float
    """Both in seconds since 1970, by the holder's clock."""
    job: str | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)

    def elsewhere(self) -> bool:
        """Whether only the heartbeat tells if the holder is alive."""
        return self.machine != machine()

    def alive(self, now: float) -> bool:
        """Whether the holder may still be at work.

        On the same machine its process decides, however old the heartbeat (a sleeping laptop);
        from anywhere else the heartbeat does.
        """
        if self.machine == machine():
            return start_of(self.pid) in (self.started, "")
        return -WRONG < now - self.heartbeat < STALE


def claim(folder: Path, job: str | None = None) -> Claim | None:
    """Claim a run folder, creating it where need be; None while somebody else holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, now = folder / _NAME, time.time()
    mine = Holder(
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=start_of(os.getpid()) or "",
        token=secrets.token_hex(8),
        since=now,
        heartbeat=now,
        job=job,
    )
    while not _create(path, mine):
        other = _read(path)
        if other is None:
            continue  # given back a moment ago
        if other.alive(now) or not _succeed(path, other, mine):
            return None
        break
    sweep(folder, STALE)
    return Claim(path, mine)


def read_claim(folder: Path) -> Holder | None:
    """Return who holds, or held and died holding, a run folder."""
    return _read(folder / _NAME)


class Claim:
    """A claim that is held: say so from time to time, and give it back."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path, self._holder = path, holder
        self._lock = threading.Lock()  # the train loop and `keep_alive` both beat
        self.lost = False
        """Whether somebody else has taken it: stop, and write nothing more."""

    def beat(self, progress: Mapping[str, Any] | None = None) -> bool:
        """Renew the heartbeat, and the progress if given; False when the claim is no longer ours.

        ``progress`` is for people to look at: epoch, epochs, phase, losses, top1 and the like.
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
        """Give the claim back; where it was lost, leave the new holder's alone."""
        with self._lock:
            if self._owned():
                self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def keep_alive(self, every: float = BEAT) -> Iterator[None]:
        """Beat from a thread of its own for as long as the block lasts."""
        over = threading.Event()

        def beat_on() -> None:
            while not over.wait(every):
                # A disk that is full for a minute is no reason to give up; one that stays so
                # makes the claim go stale, as it should.
                with contextlib.suppress(OSError):
                    self.beat()

        thread = threading.Thread(target=beat_on, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _owned(self) -> bool:
        there = _read(self._path)
        return there is not None and there.token == self._holder.token


def _succeed(path: Path, dead: Holder, mine: Holder) -> bool:
    """Put ``mine`` in the place of a dead claim, unless somebody else does.

    Only who has created the file named after the dead claim's token may replace that claim; and
    only if it is still there, for an heir may have come and gone since we judged it dead. Should
    an heir die in between, its own heir file is taken over in the same way.
    """
    heir = path.with_name(f".heir-{dead.token}")
    if not _create(heir, mine):
        other = _read(heir)
        if other is None or other.alive(time.time()) or not _succeed(heir, other, mine):
            return False
    there = _read(path)
    if there is None or there.token != dead.token:
        heir.unlink(missing_ok=True)
        return False
    heir.replace(path)
    return True


def _create(path: Path, holder: Holder) -> bool:
    return place_once(path, _text(holder), one_wins=True)


def _read(path: Path) -> Holder | None:
    """Read a claim; one that its maker has not filled yet, or never will, goes by its age."""
    try:
        text = path.read_bytes()
        modified = path.stat().st_mtime
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        token = f"unreadable-{modified:.0f}"
        return Holder("?", "?", 0, "", token, since=modified, heartbeat=modified)


def _text(holder: Holder) -> bytes:
    return as_json(asdict(holder))
