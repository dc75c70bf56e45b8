"""The manifest of a suite: its expanded grid in a JSON file, which is read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.config.runs import REFERENCE_FIELDS, Run, parse_run
from benchmark.store.atomic import write_atomic


def manifest_path(results: Path, name: str, digest: str) -> Path:
    """Return the path of a suite's manifest. Each version of the suite file has its own."""
    return results / "suites" / f"{name}-{digest}.json"


def load_manifest(results: Path, name: str, digest: str) -> dict[str, Any] | None:
    """Return the manifest of a planned suite; None if there is none, or it cannot be read."""
    try:
        manifest: dict[str, Any] = json.loads(manifest_path(results, name, digest).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return manifest if manifest.get("schema") == 1 else None


def save_manifest(results: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into the results folder."""
    path = manifest_path(results, manifest["suite"], manifest["digest"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without indentation: for ten thousand runs, json then takes a tenth of the time.
    write_atomic(path, json.dumps(manifest, allow_nan=False).encode())


def runs_from_manifest(manifest: Mapping[str, Any], run_ids: Iterable[str]) -> dict[str, Run]:
    """Return runs of a manifest by id, each after the runs of the manifest that it needs."""
    runs: dict[str, Run] = {}

    def add(run_id: str) -> Run:
        if run_id not in runs:
            data = manifest["runs"][run_id]
            fields = [field for field in REFERENCE_FIELDS if isinstance(data.get(field), str)]
            needs = {field: add(data[field]) for field in fields}
            runs[run_id] = parse_run({**data, **needs})
        return runs[run_id]

    for run_id in run_ids:
        add(run_id)
    return runs
