"""What a launcher and the job process that it starts agree on: variables and exit codes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = (130, -signal.SIGTERM)
"""How a job ends that was told to: with its claims released and nothing to be blamed for."""
LEASH, LISTENING = "KD_LEASH", "MASTER_FD"
"""Environment variables: standard input ends with the launcher; an open socket's number."""
PATIENCE = 20.0
"""Seconds in which a process that was told to end may do so."""


def how(code: int) -> str:
    """Name an exit status."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def additions() -> dict[str, str]:
    """Let a job import this checkout from wherever it starts, and keep libraries to one thread."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def on_a_leash() -> None:
    """In a process of several: end when the launcher has, however that came about.

    Its place is taken by nobody, so a process that waits for one that is gone would wait for ever.
    """
    if LEASH in os.environ:
        threading.Thread(target=_end_with_the_launcher, daemon=True).start()


def _end_with_the_launcher() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)
