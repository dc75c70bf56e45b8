"""A suite as the command line uses it: its manifest, planned if necessary, and selected runs."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.document import Document, load_document
from benchmark.config.errors import UserError, suggest
from benchmark.config.runs import Run
from benchmark.config.validation import short_digest
from benchmark.processes.child import run_in_child_process
from benchmark.store.environment import source_digest
from benchmark.store.folder import Store
from benchmark.suite.manifest import load_manifest, runs_from_manifest, save_manifest

REPORT_SUFFIXES = (
    *("over-pairs", "data-sets", "fidelity", "calibration", "cost", "published", "runs"),
    *("accuracy", "curves", "ranks", "over-scratch", "over-kd", "losses"),
)
"""Suffixes that the report adds to a suite's name in file names."""


@dataclass(frozen=True)
class Suite:
    """A planned suite: its manifest and its results folder."""

    name: str
    manifest: dict[str, Any]
    store: Store
    results: Path

    @classmethod
    def open(
        cls,
        path: Path,
        changes: list[str],
        results: Path,
        needs_code: bool,
        plugins: Sequence[Path] = (),
        *,
        data: Path,
    ) -> Suite:
        """Read the suite's manifest, or plan the suite if its file or the code has changed.

        ``needs_code`` is false for a report, which accepts a manifest of older code if it cannot
        plan anew because torch or a plug-in is missing. ``plugins`` default to those of the
        earlier planning. Raises UserError for mistakes in the suite and if planning is impossible.
        """
        document = load_document(path).with_overrides(changes)
        document.require_finite()
        name = suite_name(path, changes)
        manifest = load_manifest(results, name, short_digest(document.data))
        files = [str(plugin.resolve()) for plugin in plugins]
        files = files or (manifest or {}).get("plugins", [])
        missing = [file for file in files if not Path(file).is_file()]
        if missing and (needs_code or manifest is None):
            raise UserError(f"--plugin {missing[0]}: no such file")
        code = manifest["code"] if missing and manifest else source_digest(plugins=files)
        has_torch = importlib.util.find_spec("torch") is not None
        stale = manifest is not None and (
            (manifest["code"] != code and (needs_code or has_torch))
            # The contents of a folder of images may have changed.
            or (needs_code and manifest["local"])
        )
        if manifest is None or stale:
            if not has_torch:
                raise UserError(
                    f"{name} has not been planned into {results}, and planning needs torch, "
                    "which is not installed here. Run `plan` where it is, and copy the results "
                    "folder."
                )
            manifest = run_in_child_process(make_manifest, document, name, code, files, data)
            sets = [word for change in changes for word in ("--set", change)]
            manifest["asked"] = [str(path.resolve()), *sets]
            save_manifest(results, manifest)
        return cls(name, manifest, Store(results), results)

    def select(self, only: str) -> dict[str, Run]:
        """Return the runs of the cells that `--only` selects, by id, after the runs they need."""
        chosen = parse_only(only)
        cells = [(self.facts(cell), cell["run"]) for cell in self.manifest["cells"]]
        for key, values in chosen.items():
            if key not in cells[0][0]:
                raise UserError(f"--only {key}: {suggest(key, cells[0][0], 'key')}")
            known = {facts[key] for facts, _ in cells}
            for value in values:
                if value not in known:
                    raise UserError(f"--only {key}={value}: {suggest(value, known, key)}")
        selected = [
            run_id
            for facts, run_id in cells
            if run_id and all(facts[key] in values for key, values in chosen.items())
        ]
        if not chosen.keys() & {"method", "seed"}:
            # Whole columns are selected, so their teacher's runs are too: no student needs a probe
            # of the teacher, so it would be missing.
            ids = set(selected)
            columns = {c["column"] for c in self.manifest["cells"] if c["run"] in ids}
            teachers = (self.manifest["columns"][column]["teacher_run"] for column in columns)
            selected += [run_id for run_id in teachers if run_id in self.manifest["runs"]]
        if not selected:
            raise UserError(f"--only {only}: selects no run of {self.name}")
        return runs_from_manifest(self.manifest, selected)

    def selects(self, only: str, cell: dict[str, Any]) -> bool:
        """Return whether `--only` selects a cell."""
        facts = self.facts(cell)
        return all(facts[key] in values for key, values in parse_only(only).items())

    def facts(self, cell: dict[str, Any]) -> dict[str, str]:
        """Return the keys and values by which `--only` can select a cell."""
        column = self.manifest["columns"][cell["column"]]
        names = {key: column[key] for key in ("student", "teacher", "dataset")}
        return {"method": cell["method"], "seed": str(cell["seed"]), **names}


def make_manifest(
    document: Document, name: str, code: str, plugins: Sequence[str], data: Path
) -> dict[str, Any]:
    """Expand a suite to its manifest. Raises one ``UserError`` for all mistakes in it."""
    import torch

    import methods
    from benchmark.suite.grid import expand_suite

    # Dry runs take two images each: threads only wait for each other, and on a busy machine long.
    torch.set_num_threads(1)
    try:
        for file in plugins:
            methods.add_file(Path(file))
        manifest = expand_suite(document, name, data).manifest(code)
    except methods.BadMethod as error:
        raise UserError(str(error)) from error
    return {**manifest, "plugins": list(plugins)}


def parse_only(text: str) -> dict[str, list[str]]:
    """Parse `method=ab,method=kd,seed=0`: any value of a key may match, and all keys must."""
    only: dict[str, list[str]] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise UserError(f"--only {text}: expected KEY=VALUE, got '{part}'")
        only.setdefault(key.strip(), []).append(value.strip())
    return only


def suite_name(path: Path, overrides: Iterable[str]) -> str:
    """Return a suite's name: its file's stem, and the changes of the command line.

    Raises UserError if its file names could be those of another suite's tables or plots.
    """
    for ending in REPORT_SUFFIXES:
        if path.stem.endswith(f"-{ending}"):
            other = path.stem.removesuffix(f"-{ending}")
            raise UserError(
                f"{path}: a suite cannot have this name: {path.stem} is the name of a table or "
                f"plot of a suite {other}. Rename the file."
            )
    changes = (re.sub(r"[^\w=.-]+", "_", change.rpartition(".")[2]) for change in overrides)
    return "-".join([path.stem, *changes])[:80]


def suite_path(name: str, folder: Path) -> Path:
    """Return the path of a YAML file that is given as a path, or by its name in a folder."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    return folder / f"{name}.yaml"
