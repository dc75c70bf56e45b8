"""Which process is meant, in a file that many machines read, and whether it is still there."""

import contextlib
import functools
import os
import socket
from pathlib import Path


@functools.cache
def machine() -> str:
    """Within what process numbers mean the same: this boot of this host, this container."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), str(Path("/proc/self/ns/pid").readlink())]
    return " ".join(parts)


def start_of(pid: int) -> str | None:
    """Return when a process began, "" where the system does not tell, None when it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # somebody else's, and there
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *others = stat.rpartition(")")[2].split()  # the name in () may hold anything
    return None if state in "ZX" else others[18]
