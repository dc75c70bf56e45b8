"""A suite as the command line uses it: its manifest, planned if necessary, and selected runs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    plugins: tuple[str, ...] = ()
    """The plug-in files that the user named, on the command line or in the suite file."""

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

        ``needs_code`` is false for what only reads results. It accepts a manifest of older code if
        the suite cannot be planned anew because torch is missing or its plug-ins are not named.

        Plug-ins are ``plugins`` and those under `plugins:` in the suite file. What a manifest in
        the results folder says of plug-ins is never loaded: the folder may be somebody else's.
        Raises UserError for mistakes in the suite and if planning is impossible.
        """
        document = load_document(path).with_overrides(changes)
        name = suite_name(path, changes)
        manifest = load_manifest(results, name, short_digest(document.data))
        files = plugin_files(plugins, document, path.parent)
        planned_with = manifest["plugins"] if manifest else []
        unnamed = sorted({Path(file).name for file in planned_with} - {Path(f).name for f in files})
        if manifest is None or is_stale(manifest, files, needs_code, unnamed):
            if not has_torch():
                raise UserError(
                    f"{name} has not been planned into {results}, and planning needs torch, "
                    "which is not installed here. Run `plan` where it is, and copy the results "
                    "folder."
                )
            code = source_digest(plugins=files)
            with explain_unnamed_plugins(unnamed):
                manifest = run_in_child_process(make_manifest, document, name, code, files, data)
            sets = [word for change in changes for word in ("--set", change)]
            manifest["asked"] = [str(path.resolve()), *sets]
            save_manifest(results, manifest)
        return cls(name, manifest, Store(results), results, tuple(files))

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


def plugin_files(named: Iterable[Path], document: Document, folder: Path) -> list[str]:
    """Return the absolute paths of the plug-ins of a command line and of a suite file.

    Those of the file are relative to its folder. Raises UserError where one is no file.
    """
    files = [(plugin.resolve(), f"--plugin {plugin}") for plugin in named]
    data = document.data if isinstance(document.data, dict) else {}
    listed = data.get("plugins")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, str):  # others are mistakes, which planning reports with their lines
            path = (folder / Path(entry).expanduser()).resolve()
            files.append((path, f"plugins: {entry}"))
    for file, origin in files:
        if not file.is_file():
            raise UserError(f"{origin}: no such file: {file}")
    return list(dict.fromkeys(str(file) for file, _ in files))


def is_stale(
    manifest: Mapping[str, Any], files: Sequence[str], needs_code: bool, unnamed: Sequence[str]
) -> bool:
    """Return whether a suite must be planned anew. ``unnamed``: plug-ins that are not named now."""
    if not needs_code and (unnamed or not has_torch()):
        return False
    # The contents of a folder of images may have changed.
    return manifest["code"] != source_digest(plugins=files) or (needs_code and manifest["local"])


def has_torch() -> bool:
    """Return whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


@contextlib.contextmanager
def explain_unnamed_plugins(unnamed: Sequence[str]) -> Iterator[None]:
    """Add to an error of planning that the suite was planned with plug-ins before."""
    try:
        yield
    except UserError as error:
        if not unnamed:
            raise
        flags = " ".join(f"--plugin {name}" for name in unnamed)
        raise UserError(
            f"{error}\nThis suite was planned with {flags}. A results folder may come from "
            "somebody else, so the plug-ins that it names are not loaded: name them again."
        ) from error


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
    """Return a suite's name, which tables and plots have in their file names.

    It is the stem of the suite's file. With changes of the command line, their last words and a
    hash follow (`s-lr-0-01-70dc71f3a2`), so other changes have another name, in whatever order they
    are given. Shells and LaTeX accept every character of a name.

    Raises UserError if its file names could be those of another suite's tables or plots.
    """
    for ending in REPORT_SUFFIXES:
        if path.stem.endswith(f"-{ending}"):
            other = path.stem.removesuffix(f"-{ending}")
            raise UserError(
                f"{path}: a suite cannot have this name: {path.stem} is the name of a table or "
                f"plot of a suite {other}. Rename the file."
            )
    stem = re.sub(r"[^\w.+-]+|^[.-]+", "_", path.stem, flags=re.ASCII)[:60]
    changes = in_order(overrides)
    texts = (re.sub(r"^[^=]*\.", "", change) for change in changes)  # from the key's last part
    readable = [re.sub(r"\W+", "-", text, flags=re.ASCII).strip("-") for text in texts]
    # What the readable part leaves out is in the hash.
    exact = ([] if stem == path.stem else [path.stem], changes)
    digest = [short_digest(exact)] if any(exact) else []
    return "-".join([stem, *filter(None, ["-".join(readable)[:40].strip("-")]), *digest])


def in_order(overrides: Iterable[str]) -> list[str]:
    """Return assignments without spaces around key and value, sorted if their order is irrelevant.

    It matters if one is to the key of another or to a part of it, as `dataset` and `dataset.limit`.
    """
    split = (override.partition("=") for override in overrides)
    pairs = [(key.strip(), value.strip()) for key, _, value in split]
    keys = [key for key, _ in pairs]
    same = len({*keys}) < len(keys)
    related = same or any(a.startswith(f"{b}.") for a in keys for b in keys)
    return [f"{key}={value}" for key, value in (pairs if related else sorted(pairs))]


def suite_path(name: str, folder: Path) -> Path:
    """Return the path of a YAML file that is given as a path, or by its name in a folder."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    return folder / f"{name}.yaml"
