"""A job's processes on this machine: they begin together, and none outlives the others.

Where they are several, each hears by the environment which one it is, as from torchrun. They meet
at a port that is open before the first of them starts, so no two jobs can want the same one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from benchmark.processes.contract import INTERRUPTED, LEASH, LISTENING, PATIENCE, additions, how

GRACE = 10.0
"""Seconds in which the others of a process that failed may say why, before they are told to end."""


class Crew:
    """The processes of a job, in a session of their own: Ctrl-C reaches them through us."""

    def __init__(self, command: Sequence[str], count: int, log: Path) -> None:
        self.log = log
        self.file: IO[bytes] = log.open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.word: str | None = None
        """How the first to end badly did."""
        self.over = self.told = float("inf")
        """When the others' grace ends; when they were told to end."""
        self.leash: int | None = None
        if count == 1:
            self._start(command, {"WORLD_SIZE": "1"})
        else:
            self._start_together(command, count)

    def _start_together(self, command: Sequence[str], count: int) -> None:
        held, self.leash = os.pipe()
        try:
            with socket.create_server(("127.0.0.1", 0), backlog=count) as door:
                place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(door.getsockname()[1])}
                for rank in map(str, range(count)):
                    who = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(count), LEASH: "1"}
                    if rank == "0":
                        opens = {LISTENING: str(door.fileno())}
                        self._start(command, who | place | opens, held, [door.fileno()])
                    else:
                        self._start(command, who | place, held)
        except BaseException:
            self._kill()
            self._let_go()
            raise
        finally:
            os.close(held)

    def _start(
        self,
        command: Sequence[str],
        who: dict[str, str],
        stdin: int | None = None,
        opens: Sequence[int] = (),
    ) -> None:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            env=os.environ | additions() | who,
            start_new_session=True,
            pass_fds=opens,
        )
        self.processes.append(process)

    def ended(self) -> str | None:
        """Return exit code or signal once all have ended; of one that failed end the others."""
        codes = [process.poll() for process in self.processes]
        bad = [code for code in codes if code]
        if bad and self.word is None:
            first = min(bad, key=telling)
            self.word = how(first)
            self.over = time.monotonic() + (GRACE if telling(first) == 2 else 0)
        if None in codes:
            self._hurry()
            return None
        self._let_go()
        return self.word or how(0)

    def _hurry(self) -> None:
        now = time.monotonic()
        if now > self.told + PATIENCE:
            self._kill()
        elif now > self.over and self.told > now:
            self.stop()

    def stop(self) -> None:
        """Send SIGTERM, to the one that holds the claims first."""
        if self.told == float("inf"):  # a second one would cut short what the first has begun
            self.told = time.monotonic()
            for process in self.processes:
                process.terminate()

    def wait(self, seconds: float) -> None:
        """Kill what takes longer."""
        until = time.monotonic() + seconds
        try:
            for process in self.processes:
                process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill()
        self._let_go()

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):  # in the middle of a broken disk
                process.wait(PATIENCE)

    def _let_go(self) -> None:
        self.file.close()
        if self.leash is not None:
            os.close(self.leash)
            self.leash = None


def telling(code: int) -> int:
    """Order exit codes: killed (0) explains more than told to end (1), that more than failed."""
    if code in INTERRUPTED:
        return 1
    return 0 if code < 0 else 2
