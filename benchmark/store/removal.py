"""Remove a run from a results folder, so that it is trained again or leaves the tables.

The run's folder is moved to `removed/` in the results folder: nothing is lost until a person
deletes it. Importing this module imports pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.runs import parse_run
from benchmark.store.claim import claim_run, read_claim
from benchmark.store.folder import State, Store

REMOVED = "removed"
"""The folder of removed runs, in the results folder."""


class RemovedRun(NamedTuple):
    """What became of a run."""

    state: State
    """Before it was removed."""
    files: dict[str, int]
    """Name and bytes of each file, as it was before."""
    target: Path
    """Where the folder is now."""
    dependents: list[str]
    """Ids of the runs that have it as their teacher or backbone."""


def remove_run(store: Store, run_id: str) -> RemovedRun:
    """Move a run's folder to `removed/`.

    Raises UserError where a live process holds the run, or trains a run that needs it.
    """
    folder = store.run(run_id)
    state = folder.state()
    dependents = [*find_dependents(store, run_id)]
    busy = [other for other in dependents if store.run(other).state() == "running"]
    if busy:
        raise UserError(f"{run_id}: {busy[0]} needs it and is running; `cancel` its suite first")
    files = {path.name: path.stat().st_size for path in sorted(folder.path.iterdir())}
    claim = claim_run(folder.path)
    if claim is None:
        holder = read_claim(folder.path)
        where = f" on {holder.host}, process {holder.pid}" if holder else ""
        raise UserError(f"{run_id}: is running{where}; `cancel` its suite first")
    target = free_name(store.root / REMOVED, run_id)
    target.parent.mkdir(exist_ok=True)
    try:
        folder.path.rename(target)
    except OSError:
        claim.release()
        raise
    (target / folder.claim.name).unlink(missing_ok=True)
    return RemovedRun(state, files, target, dependents)


def find_dependents(store: Store, run_id: str) -> Iterator[str]:
    """Yield the ids of the runs in the results folder that need a run directly."""
    for path in sorted((store.root / "runs").glob("*/config.json")):
        try:
            run = parse_run(json.loads(path.read_bytes()))
        except (UserError, ValueError, RecursionError):
            continue  # damaged, or of other code: it can't be known
        if run_id in (need.id for need in run.needs):
            yield path.parent.name


def free_name(folder: Path, name: str) -> Path:
    """Return a path of that name, with a number behind it if that exists already."""
    path, number = folder / name, 2
    while path.exists():
        path, number = folder / f"{name}-{number}", number + 1
    return path
