"""Read records and failures from run folders. Each file is read once and validated."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchmark.config.errors import UserError
from benchmark.report.results.agreement import compare_predictions
from benchmark.report.results.outcomes import (
    Manifest,
    ManifestCell,
    ManifestColumn,
    Outcome,
    Results,
)
from benchmark.store.record import Failure, Record

T = TypeVar("T")


def load_results(manifest: Mapping[str, Any], runs: Path) -> Results:
    """Return the outcome of every run that `manifest` names, read from the folders under `runs`.

    A run with both a record and a failure is done: it failed first and succeeded in a later try.

    Raises UserError: the manifest, a record, a failure or a file of predictions is damaged.
    """
    try:
        grid = _MANIFEST.validate_python(manifest)
    except ValidationError as error:
        raise UserError(f"the suite's manifest is invalid: {_first_problem(error)}") from error
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
    if record := _read_json(runs / run / "record.json", _RECORD):
        return Outcome(seed, run, "done", record=record)
    if failure := _read_json(runs / run / "failure.json", _FAILURE):
        return Outcome(seed, run, "failed", failure=failure.message)
    return Outcome(seed, run, "missing")


def _read_json(path: Path, kind: TypeAdapter[T]) -> T | None:
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{path}: damaged: {_first_problem(error)}. "
            "Delete the file and run the suite again to create it anew."
        ) from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


_MANIFEST = TypeAdapter(Manifest)
_RECORD = TypeAdapter(Record)
_FAILURE = TypeAdapter(Failure)
