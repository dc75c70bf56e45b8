"""Where a record's numbers came from: the code, the versions and the machine."""

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
PLANNING_FOLDERS = (
    *("benchmark/config", "benchmark/data", "benchmark/models", "benchmark/suite"),
    *("benchmark/training", "methods"),
)
"""The code that decides what a suite is expanded to.

Planning also imports `processes`, `store` and `evaluation`. They start the planning process, write
the manifest and score trained networks, and none of that changes which runs a suite has.
"""


def describe_environment(device: str, threads: int | None = None) -> dict[str, Any]:
    """Return the fields of a record's ``environment`` that every process can fill in.

    ``threads`` is the number that was used; by default the number of cores.
    """
    commit, dirty = _checkout(_ROOT)
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        **{name: _version(name) for name in _VERSIONS},
        "platform": platform.platform(),
        "cpu": processor_name(),
        "device": device,
        "threads": threads or os.cpu_count(),
        "host": socket.gethostname(),
    }


def source_digest(root: Path = _ROOT, plugins: Iterable[str] = ()) -> str:
    """Return 10 hex digits of a hash over all code that can change the plan of a suite.

    That is every Python file in `PLANNING_FOLDERS`, the plug-in files, and the version of each
    installed package that adds methods.
    """
    total = hashlib.sha256()
    for folder in PLANNING_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            total.update(f"{name} {_sha256(path)}\n".encode())
    for plugin in plugins:
        total.update(f"{_sha256(Path(plugin))}\n".encode())
    for entry in metadata.entry_points(group="kd_suite.methods"):
        total.update(f"{entry.value} {entry.dist and entry.dist.version}\n".encode())
    return total.hexdigest()[:10]


def processor_name() -> str:
    """Return the model name of the CPU."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _checkout(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that the code is in, and whether the code differs from it.

    Both are None where there is no git, no repository or no commit.
    """
    try:
        # The code may be installed inside somebody else's repository: `root` must be its top.
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None, None
        # Other files do not matter: the record holds the configuration, the code is in these two.
        changes = _git(root, "status", "--porcelain", "--", "benchmark", "methods")
        return _git(root, "rev-parse", "HEAD"), changes != ""
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    # Inside a git hook, GIT_DIR and similar variables point to another repository.
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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
