"""A suite as the command line asks for it: its expanded grid, and which of its runs are meant."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.document import Document, load
from benchmark.config.errors import UserError, suggest
from benchmark.config.runs import Run
from benchmark.config.validation import digest
from benchmark.processes.child import in_a_child
from benchmark.store.environment import source_digest
from benchmark.store.folder import Store
from benchmark.suite.manifest import read_manifest, runs_of, write_manifest

ENDINGS = (
    *("over-pairs", "data-sets", "fidelity", "calibration", "cost", "published", "runs"),
    *("accuracy", "curves", "ranks", "over-scratch", "over-kd", "losses"),
)
"""What the report adds to a suite's name, in names of files."""


@dataclass(frozen=True)
class Planned:
    """A suite's manifest and the runs in it."""

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
    ) -> Planned:
        """Take the manifest of an earlier planning where suite and code are still the same.

        A report (``needs_code`` false) makes do with what older code has planned, where there is
        no torch, or no plug-in any more, to plan anew. Plug-ins need to be named only once.
        """
        document = load(path).with_overrides(changes)
        name = suite_name(path, changes)
        manifest = read_manifest(results, name, digest(document.data))
        files = [str(plugin.resolve()) for plugin in plugins]
        files = files or (manifest or {}).get("plugins", [])
        gone = [file for file in files if not Path(file).is_file()]
        if gone and (needs_code or manifest is None):
            raise UserError(f"--plugin {gone[0]}: no such file")
        code = manifest["code"] if gone and manifest else source_digest(plugins=files)
        has_torch = importlib.util.find_spec("torch") is not None
        stale = manifest is not None and (
            (manifest["code"] != code and (needs_code or has_torch))
            # What a folder of images holds may have changed as well.
            or (needs_code and manifest["local"])
        )
        if manifest is None or stale:
            if not has_torch:
                raise UserError(
                    f"{name} has not been planned into {results}, and planning needs torch, "
                    "which is not installed here. Run `plan` where it is, and copy the results "
                    "folder."
                )
            manifest = in_a_child(make_manifest, document, name, code, files, data)
            sets = [word for change in changes for word in ("--set", change)]
            manifest["asked"] = [str(path.resolve()), *sets]
            write_manifest(results, manifest)
        return cls(name, manifest, Store(results), results)

    def select(self, only: str) -> dict[str, Run]:
        """Return the runs of the chosen cells by id, after the teachers that they need."""
        chosen = parse_only(only)
        cells = [(self.facts(cell), cell["run"]) for cell in self.manifest["cells"]]
        for key, values in chosen.items():
            if key not in cells[0][0]:
                raise UserError(f"--only {key}: {suggest(key, cells[0][0], 'key')}")
            there = {facts[key] for facts, _ in cells}
            for value in values:
                if value not in there:
                    raise UserError(f"--only {key}={value}: {suggest(value, there, key)}")
        meant = [
            run_id
            for facts, run_id in cells
            if run_id and all(facts[key] in values for key, values in chosen.items())
        ]
        if not chosen.keys() & {"method", "seed"}:
            # With every row of a column, the teacher's own: a probe of it is no student's need.
            known = set(meant)
            columns = {c["column"] for c in self.manifest["cells"] if c["run"] in known}
            shown = (self.manifest["columns"][column]["teacher_run"] for column in columns)
            meant += [run_id for run_id in shown if run_id in self.manifest["runs"]]
        if not meant:
            raise UserError(f"--only {only}: no run of {self.name} is meant by this")
        return runs_of(self.manifest, meant)

    def facts(self, cell: dict[str, Any]) -> dict[str, str]:
        """Return what `--only` can choose a cell by."""
        column = self.manifest["columns"][cell["column"]]
        names = {key: column[key] for key in ("student", "teacher", "dataset")}
        return {"method": cell["method"], "seed": str(cell["seed"]), **names}


def make_manifest(
    document: Document, name: str, code: str, plugins: Sequence[str], data: Path
) -> dict[str, Any]:
    """Expand a suite; all that is wrong with it or with a plug-in is one ``UserError``."""
    import methods  # and with it torch
    from benchmark.suite.grid import expand

    try:
        for file in plugins:
            methods.add_file(Path(file))
        manifest = expand(document, name, data).manifest(code)
    except methods.BadMethod as error:
        raise UserError(str(error)) from error
    return {**manifest, "plugins": list(plugins)}


def parse_only(text: str) -> dict[str, list[str]]:
    """Read method=ab,method=kd,seed=0: values of one key are alternatives, keys must all hold."""
    only: dict[str, list[str]] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise UserError(f"--only {text}: expected KEY=VALUE, got '{part}'")
        only.setdefault(key.strip(), []).append(value.strip())
    return only


def suite_name(path: Path, overrides: Iterable[str]) -> str:
    """Name a suite: its file's stem and what the command line changed; tables stay apart.

    Raises UserError where its tables would take the names of another suite's.
    """
    for ending in ENDINGS:
        if path.stem.endswith(f"-{ending}"):
            other = path.stem.removesuffix(f"-{ending}")
            raise UserError(
                f"{path}: no suite may be called so: {path.stem} is what a table or plot of a "
                f"suite {other} is called. Rename the file."
            )
    changes = (re.sub(r"[^\w=.-]+", "_", change.rpartition(".")[2]) for change in overrides)
    return "-".join([path.stem, *changes])[:80]


def find(name: str, folder: Path) -> Path:
    """Find a YAML file given as a path or by its name in a folder."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    return folder / f"{name}.yaml"
