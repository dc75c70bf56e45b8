"""What a record says about where its numbers came from: code, versions, machine."""

import contextlib
import hashlib
import os
import platform
import socket
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_VERSIONS = ("torch", "torchvision", "numpy")


def describe(device: str, threads: int | None = None) -> dict[str, Any]:
    """Return the record's ``environment``. ``threads``: those used, else the cores there are."""
    commit, dirty = _checkout(_ROOT)
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        **{name: _version(name) for name in _VERSIONS},
        "platform": platform.platform(),
        "cpu": processor(),
        "device": device,
        "threads": threads or os.cpu_count(),
        "host": socket.gethostname(),
    }


def source_digest(root: Path = _ROOT, plugins: Iterable[str] = ()) -> str:
    """Return 10 hex digits over all code that can change a plan or a number; reports cannot.

    ``plugins`` are files with methods; installed packages that add methods count by their version.
    """
    total = hashlib.sha256()
    for package in ("benchmark", "methods"):
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith("benchmark/report/"):
                total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for plugin in plugins:
        total.update(f"{hashlib.sha256(Path(plugin).read_bytes()).hexdigest()}\n".encode())
    for entry in metadata.entry_points(group="kd_suite.methods"):
        total.update(f"{entry.value} {entry.dist and entry.dist.version}\n".encode())
    return total.hexdigest()[:10]


def _checkout(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit that the code is a checkout of, and whether it has been changed since."""
    try:
        # An environment in somebody's repository is no checkout of ours: `root` must be its top.
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None, None
        # Tables and notes may change: the configuration is in the record, the code is here.
        changes = _git(root, "status", "--porcelain", "--", "benchmark", "methods")
        return _git(root, "rev-parse", "HEAD"), changes != ""
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return None, None


def _git(root: Path, *arguments: str) -> str:
    # Within a git hook, GIT_DIR and its like point elsewhere.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    run = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=20, check=True
    )
    return run.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
