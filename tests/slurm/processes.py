"""Find and kill the processes of a test cluster of ``tests.slurm.cluster``.

All of them, jobs included, have the path of the cluster's slurm.conf in their environment. A
watcher kills them when the process that started the cluster has ended for any reason. By hand:
``python tests/slurm/processes.py /dev/shm/kd-slurm-PID </dev/null``
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def watch(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that clears the folder once this process has ended and closed the pipe."""
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def clear(folder: Path) -> None:
    """Kill every process of the cluster in a folder, and remove the folder."""
    end = time.monotonic() + 30
    while (found := processes(folder)) and time.monotonic() < end:
        for pid in found:
            kill(pid)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def processes(folder: Path, node: str | None = None) -> list[int]:
    """Return the processes of the cluster in a folder, or of one of its nodes."""
    wanted = {f"SLURM_CONF={folder}/slurm.conf"} | ({f"SLURMD_NODENAME={node}"} if node else set())
    return [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if wanted <= {*read(path / "environ").split("\0")}
    ]


def program(pid: int) -> str:
    """Return the name of a process's program."""
    return read(Path(f"/proc/{pid}/comm")).strip()


def read(path: Path) -> str:
    """Return a file of /proc; empty if the process has ended or belongs to another user."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def kill(pid: int) -> None:
    """Kill a process unless it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.stdin.read()
    clear(Path(sys.argv[1]).resolve())
