"""Where prepared files are: under the data root, or in a cache if that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.data.files.checksums import json_sha256

CACHE_VARIABLE = "KD_CACHE"
MANIFEST = "manifest.json"


def prepared_folder(root: Path, name: str, version: int | str) -> Path:
    """Return the folder of a data set's prepared files, which may not exist yet."""
    return prepared_path(root, f"{name}-{version}")


def prepared_path(root: Path, name: str) -> Path:
    """Return the path of a prepared set, or of a file that belongs to one.

    What exists under the data root is used. New files are written to the folder in $KD_CACHE if
    that is set, else under the data root, and if that cannot be written, to the user's cache.
    """
    inside = root / ".prepared" / name
    exists = (inside / MANIFEST).is_file() or inside.is_file()
    chosen = os.environ.get(CACHE_VARIABLE)
    if exists or (not chosen and is_writable(root / ".prepared")):
        return inside
    cache = Path(chosen) if chosen else user_cache()
    return cache / json_sha256(str(root.resolve()))[:10] / name


def user_cache() -> Path:
    """Return the user's cache of this suite, by the XDG Base Directory Specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kd-suite"


def is_writable(folder: Path) -> bool:
    """Return whether files can be written to a folder, or it can be made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return os.access(existing, os.W_OK | os.X_OK)


def show_path(path: Path, root: Path) -> str:
    """Return a path relative to the data root, or the whole path if it is elsewhere."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
