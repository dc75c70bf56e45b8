"""Where the expanded grid of a suite is kept, for all who need no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.config.runs import NEEDS, Run, parse
from benchmark.store.atomic import write_atomic


def path_of(results: Path, name: str, digest: str) -> Path:
    """One file a suite and content: an edited suite does not lose the grid it had."""
    return results / "suites" / f"{name}-{digest}.json"


def read_manifest(results: Path, name: str, digest: str) -> dict[str, Any] | None:
    """Return the manifest that a planning left; None where there is none that can be read."""
    try:
        manifest: dict[str, Any] = json.loads(path_of(results, name, digest).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return manifest if manifest.get("schema") == 1 else None


def write_manifest(results: Path, manifest: Mapping[str, Any]) -> None:
    """Keep a manifest."""
    path = path_of(results, manifest["suite"], manifest["digest"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # In one line: of ten thousand runs, json writes it in a tenth of the time.
    write_atomic(path, json.dumps(manifest, allow_nan=False).encode())


def runs_of(manifest: Mapping[str, Any], run_ids: Iterable[str]) -> dict[str, Run]:
    """Make runs of a manifest by id, each after those of it that it needs."""
    made: dict[str, Run] = {}

    def make(run_id: str) -> Run:
        if run_id not in made:
            data = manifest["runs"][run_id]
            needs = {key: make(data[key]) for key in NEEDS if isinstance(data.get(key), str)}
            run = parse({**data, **needs})
            vars(run)["id"] = run_id  # known, and of ten thousand it takes a second to work out
            made[run_id] = run
        return made[run_id]

    for run_id in run_ids:
        make(run_id)
    return made
