"""Environment variables and exit codes shared by a launcher and the job processes it starts."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED_STATUSES = (130, -signal.SIGTERM)
"""Exit statuses of a job that was asked to end. It released its claims; it did not fail."""
ENDS_WITH_LAUNCHER = "KD_ENDS_WITH_LAUNCHER"
"""Environment variable: set if standard input is a pipe that closes when the launcher ends."""
MASTER_FD = "MASTER_FD"
"""Environment variable: file descriptor of the open socket that rank 0 listens on."""
SECONDS_TO_END = 20.0
"""Seconds between SIGTERM and SIGKILL: the time that a process has to end by itself."""


def format_exit_status(code: int) -> str:
    """Return `signal 9` or `exit code 1` for the return code of a process."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def job_environment() -> dict[str, str]:
    """Return the variables that a job needs: it imports this checkout and uses one thread."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def end_with_launcher() -> None:
    """Let this process, one of several of a job, end when its launcher ends, even by SIGKILL.

    Otherwise it could wait forever for another process of the job that is gone.
    """
    if ENDS_WITH_LAUNCHER in os.environ:
        threading.Thread(target=_end_with_the_launcher, daemon=True).start()


def _end_with_the_launcher() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(1)
