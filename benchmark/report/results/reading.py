"""Read records and failures from run folders. Each file is read once and validated."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from benchmark.config.errors import UserError
from benchmark.report.results.agreement import compare_predictions
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.fields import warn_once
from benchmark.store.folder import RunFolder
from benchmark.store.loading import load_failure, load_record
from benchmark.store.manifest import ManifestCell, ManifestColumn, parse_manifest

T = TypeVar("T")


def load_results(manifest: Mapping[str, Any], runs: Path) -> Results:
    """Return the outcome of every run that `manifest` names, read from the folders under `runs`.

    A run with both a record and a failure is done: it failed first and succeeded in a later try.

    A run whose record or failure is damaged has failed, with the damage as the reason; it is named
    on standard error, once. A damaged file of predictions is named too, and counts as missing.

    Raises UserError: the manifest is damaged.
    """
    try:
        grid = parse_manifest(manifest)
    except ValueError as error:
        raise UserError(f"the suite's manifest is invalid: {error}") from error
    cells = {(cell.column, cell.method, cell.seed): cell for cell in grid.cells}
    students = {
        (index, method): tuple(
            _with_fidelity(
                _outcome_of_cell(seed, cells.get((index, method, seed)), runs), column, runs
            )
            for seed in grid.seeds
        )
        for index, column in enumerate(grid.columns)
        for method in grid.methods
    }
    teachers = tuple(_read_outcome(None, column.teacher_run, runs) for column in grid.columns)
    return Results(grid, teachers, students)


def _outcome_of_cell(seed: int, cell: ManifestCell | None, runs: Path) -> Outcome:
    if cell is not None and cell.run is None:
        return Outcome(seed, None, "not applicable", reason=cell.reason or "no reason given")
    return _read_outcome(seed, cell.run if cell else None, runs)


def _with_fidelity(outcome: Outcome, column: ManifestColumn, runs: Path) -> Outcome:
    """Add the similarity to the run's teacher, or to the column's if the run has no teacher."""
    measures = outcome.record.measures if outcome.record else None
    if measures is None:
        return outcome
    if measures.fidelity is not None:
        return replace(outcome, fidelity=measures.fidelity)
    if column.teacher_run is None or outcome.run is None:
        return outcome
    return replace(
        outcome, fidelity=compare_predictions(runs / outcome.run, runs / column.teacher_run)
    )


def _read_outcome(seed: int | None, run: str | None, runs: Path) -> Outcome:
    if run is None:
        return Outcome(seed, run, "missing")
    folder = RunFolder(runs / run)
    try:
        if record := _if_there(load_record, folder.record):
            return Outcome(seed, run, "done", record=record)
        failure = _if_there(load_failure, folder.failure)
    except DamagedFileError as error:
        # It costs this run only. In tables it is a failure, with this as its reason.
        warn_once(f"warning: {error}")
        return Outcome(seed, run, "failed", failure=str(error))
    if failure is not None:
        return Outcome(seed, run, "failed", failure=failure.message)
    return Outcome(seed, run, "missing")


def _if_there(load: Callable[[Path], T], path: Path) -> T | None:
    try:
        return load(path)
    except FileNotFoundError:
        return None
