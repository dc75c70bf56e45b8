"""Identify a process in files that several machines read, and check whether it is alive."""

import contextlib
import functools
import os
import socket
from pathlib import Path


@functools.cache
def machine_id() -> str:
    """Return an id of the scope of process ids: this host, this boot, this container."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), str(Path("/proc/self/ns/pid").readlink())]
    return " ".join(parts)


def process_start_time(pid: int) -> str | None:
    """Return when a process started: "" if the system does not say, None if it has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it exists and belongs to another user
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    state, *others = stat.rpartition(")")[2].split()  # the name in () may hold anything
    return None if state in "ZX" else others[18]
