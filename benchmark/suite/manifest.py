"""The manifest of a suite: its expanded grid in a JSON file, which is read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.config.errors import UserError
from benchmark.config.runs import REFERENCE_FIELDS, Run, parse_run
from benchmark.store.atomic import write_atomic
from benchmark.store.fields import read_intact
from benchmark.store.manifest import read_manifest


def manifest_path(results: Path, name: str, digest: str) -> Path:
    """Return the path of a suite's manifest. Each version of the suite file has its own."""
    return results / "suites" / f"{name}-{digest}.json"


def manifest_name(manifest: Mapping[str, Any]) -> str:
    """Return the file name of a manifest."""
    return manifest_path(Path(), manifest["suite"], manifest["digest"]).name


def load_manifest(results: Path, name: str, digest: str) -> dict[str, Any] | None:
    """Return the manifest of a planned suite, checked; None if there is none.

    A damaged one is named on standard error and counts as none.
    """
    path = manifest_path(results, name, digest)
    if not path.parent.is_dir():
        return None
    return read_intact([path], read_manifest, "The suite is planned anew.").get(path)


def save_manifest(results: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into the results folder."""
    path = manifest_path(results, manifest["suite"], manifest["digest"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without indentation: for ten thousand runs, json then takes a tenth of the time.
    write_atomic(path, json.dumps(manifest, allow_nan=False).encode())


def runs_from_manifest(manifest: Mapping[str, Any], run_ids: Iterable[str]) -> dict[str, Run]:
    """Return runs of a manifest by id, each after the runs of the manifest that it needs.

    Raises UserError where a run is damaged, or has another id than its configuration gives.
    """
    runs: dict[str, Run] = {}

    def add(run_id: str) -> Run:
        if run_id not in runs:
            data = manifest["runs"].get(run_id, {})
            fields = [field for field in REFERENCE_FIELDS if isinstance(data.get(field), str)]
            needs = {field: add(data[field]) for field in fields}
            try:
                run = parse_run({**data, **needs})
                actual = run.id
            except ValueError as error:
                actual = f"no run ({str(error).splitlines()[0]})"
            if actual != run_id:
                raise UserError(
                    f"the manifest of {manifest['suite']} is damaged: its {run_id} is {actual}. "
                    f"Delete suites/{manifest_name(manifest)} in the results folder; the suite is "
                    "then planned anew."
                )
            runs[run_id] = run
        return runs[run_id]

    for run_id in run_ids:
        add(run_id)
    return runs
