"""The run folders, each file read once: the only door between files and the report."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchmark.config.errors import UserError
from benchmark.report.results.agreement import compare
from benchmark.report.results.outcomes import Column, Manifest, Outcome, Place, Results
from benchmark.store.record import Failure, Record

T = TypeVar("T")


def load(manifest: Mapping[str, Any], runs: Path) -> Results:
    """Read the outcome of every run that `manifest` names from the folders under `runs`.

    A record wins over a failure, for then the run was tried again. Raises UserError, naming what
    it is, for a manifest, record, failure or file of predictions that is damaged.
    """
    try:
        grid = _MANIFEST.validate_python(manifest)
    except ValidationError as error:
        raise UserError(f"the suite's manifest cannot be used: {_first(error)}") from error
    places = {(cell.column, cell.method, cell.seed): cell for cell in grid.cells}
    students = {
        (place, method): tuple(
            _compared(_outcome(seed, places.get((place, method, seed)), runs), column, runs)
            for seed in grid.seeds
        )
        for place, column in enumerate(grid.columns)
        for method in grid.methods
    }
    teachers = tuple(_run(None, column.teacher_run, runs) for column in grid.columns)
    return Results(grid, teachers, students)


def _outcome(seed: int, place: Place | None, runs: Path) -> Outcome:
    if place is not None and place.run is None:
        return Outcome(seed, None, "not applicable", reason=place.reason or "no reason given")
    return _run(seed, place.run if place else None, runs)


def _compared(outcome: Outcome, column: Column, runs: Path) -> Outcome:
    """An outcome with how alike it is to its teacher, or where it has none to the column's."""
    measures = outcome.record.measures if outcome.record else None
    if measures is None:
        return outcome
    if measures.fidelity is not None:
        return replace(outcome, fidelity=measures.fidelity)
    if column.teacher_run is None or outcome.run is None:
        return outcome
    return replace(outcome, fidelity=compare(runs / outcome.run, runs / column.teacher_run))


def _run(seed: int | None, run: str | None, runs: Path) -> Outcome:
    if run is None:
        return Outcome(seed, run, "missing")
    if record := _read(runs / run / "record.json", _RECORD):
        return Outcome(seed, run, "done", record=record)
    if failure := _read(runs / run / "failure.json", _FAILURE):
        return Outcome(seed, run, "failed", failure=failure.message)
    return Outcome(seed, run, "missing")


def _read(path: Path, kind: TypeAdapter[T]) -> T | None:
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        again = "Delete it and run the suite again to make it anew."
        raise UserError(f"{path}: damaged: {_first(error)}. {again}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


_MANIFEST = TypeAdapter(Manifest)
_RECORD = TypeAdapter(Record)
_FAILURE = TypeAdapter(Failure)
