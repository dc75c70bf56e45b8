"""Compare two results folders run by run: whether equal ids have equal weights and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.config.errors import UserError
from benchmark.store.folder import Store
from benchmark.store.record import Epoch, Record

TIMES = ("seconds", "wall_seconds", "step_seconds", "teacher_seconds", "joules")
"""Fields of an epoch that differ between two equal runs."""


class Comparison(NamedTuple):
    """What two results folders, A and B, have in common."""

    equal: list[str]
    """Ids of the runs with equal weights and equal numbers."""
    different: dict[str, list[str]]
    """By id: what differs."""
    only_a: list[str]
    """Ids of the runs that are done in A only."""
    only_b: list[str]


def compare_results(a: Path, b: Path, run_ids: Iterable[str] | None = None) -> Comparison:
    """Compare the finished runs of two results folders; ``run_ids``: those that count.

    Raises UserError where a folder holds no finished run, or none of those.
    """
    done_a, done_b = (finished_runs(folder) for folder in (a, b))
    if run_ids is not None:
        chosen = set(run_ids)
        done_a, done_b = done_a & chosen, done_b & chosen
    if not done_a | done_b:
        raise UserError(f"none of the suite's runs is done in {a} or {b}")
    found = Comparison([], {}, sorted(done_a - done_b), sorted(done_b - done_a))
    for run_id in sorted(done_a & done_b):
        differences = compare_run(run_id, Store(a), Store(b))
        if differences:
            found.different[run_id] = differences
        else:
            found.equal.append(run_id)
    return found


def finished_runs(results: Path) -> set[str]:
    """Return the ids of the finished runs. Raises UserError where there is none."""
    run_ids = {path.parent.name for path in (results / "runs").glob("*/record.json")}
    if not run_ids:
        raise UserError(f"{results}: there is no finished run in this results folder")
    return run_ids


def compare_run(run_id: str, a: Store, b: Store) -> list[str]:
    """Return what differs between a run's two records; nothing for equal ones."""
    records: list[Record] = []
    for store in (a, b):
        try:
            records.append(store.run(run_id).load_record())
        except UserError as error:
            return [str(error)]
    one, other = records
    differences = []
    if one.config != other.config:
        differences.append("configuration: " + ", ".join(differing(one.config, other.config)))
    if one.weights != other.weights:
        differences.append(
            f"weights: sha256 {one.weights.sha256[:12]} and {other.weights.sha256[:12]}"
        )
    for name, teacher in (("teacher", one.teacher), ("backbone", one.backbone)):
        if teacher != getattr(other, name):
            differences.append(f"{name}: of other weights or accuracy")
    mine, theirs = asdict(one.result), asdict(other.result)
    differences += [f"{key}: {mine[key]} and {theirs[key]}" for key in differing(mine, theirs)]
    epoch = first_difference(one.history, other.history)
    return differences + ([] if epoch is None else [f"history: from epoch {epoch}"])


def differing(one: Any, other: Any) -> list[str]:  # noqa: ANN401
    """Return the keys of two dictionaries whose values differ."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def first_difference(one: tuple[Epoch, ...], other: tuple[Epoch, ...]) -> int | None:
    """Return the first epoch, from 1, that differs in more than its times; None for equal ones."""
    for number, (mine, theirs) in enumerate(zip(one, other, strict=False), 1):
        if set(differing(asdict(mine), asdict(theirs))) - {*TIMES}:
            return number
    return None if len(one) == len(other) else min(len(one), len(other)) + 1
