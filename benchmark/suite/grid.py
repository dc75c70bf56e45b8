"""A suite's grid: every run that its file expands to, and the reason where there can be none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.config.document import Document
from benchmark.config.recipe import Recipe
from benchmark.config.runs import Imported, ProbeRun, Run, TrainRun
from benchmark.config.validation import check, digest
from benchmark.data import find, is_local
from benchmark.processes.child import shared
from benchmark.suite.columns import Column, make_columns
from benchmark.suite.dry_run import Scene, attempt, mismatch
from benchmark.suite.names import problems_of_names
from benchmark.suite.rows import Entry, entries, shown
from benchmark.suite.rows import problems as entry_problems
from benchmark.suite.schema import SuiteFile
from methods.interface import Budget


@dataclass(frozen=True)
class Cell:
    """One place of the grid: a run, or the reason why there can be none."""

    column: int
    method: str
    seed: int
    run: Run | None
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the cell as plain data, its run by id."""
        run = self.run and self.run.id
        names = {"column": self.column, "method": self.method, "seed": self.seed}
        return {**names, "run": run, "reason": self.reason}


@dataclass(frozen=True)
class Grid:
    """A suite, expanded."""

    name: str
    title: str
    digest: str
    """Of the suite's data: names the manifest."""
    file: SuiteFile
    columns: Sequence[Column]
    cells: Sequence[Cell]

    def runs(self) -> dict[str, Run]:
        """Return every run by id, what others need before them."""
        columns = self.columns if needs_teacher(self.file) else ()
        teachers = [run for c in columns if not isinstance(run := c.teacher_run, Imported)]
        students = [cell.run for cell in self.cells if cell.run is not None]
        wanted = [*teachers, *students]
        needed = [need for run in wanted for need in run.trains_first]
        return {run.id: run for run in (*needed, *wanted)}

    def manifest(self, code: str) -> dict[str, Any]:
        """Return the grid as plain data: what reports and `status` read, without torch."""
        recipe = self.file.recipe
        dataset, runs = self.columns[0].trained.dataset, self.runs()
        return {
            "schema": 1,
            "suite": self.name,
            "local": any(is_local(run.dataset.name) for run in runs.values()),
            "title": self.title,
            "digest": self.digest,
            "code": code,
            "dataset": dataset.name,
            "dataset_limit": dataset.limit,
            "validation": dataset.validation,
            # A phase is one epoch long at least: of a single epoch, none is left for another phase.
            "init_epochs": recipe.init_epochs if recipe.epochs > 1 else "extra",
            "epochs": recipe.epochs,
            "departures": list(departures(self.file, self.columns)),
            "table": self.file.table.model_dump(mode="json"),
            "as_published": dict(map(as_published, entries(self.file.methods))),
            "methods": list(self.file.methods),
            "probes": [
                c.probing.told() for c in self.columns[: 1 + len(self.file.probes)] if c.probing
            ],
            "columns": [
                {
                    "dataset": column.heading,
                    "teacher": column.teacher.student,
                    "student": column.student,
                    "teacher_run": column.teacher_run.id if needs_teacher(self.file) else None,
                }
                for column in self.columns
            ],
            "seeds": list(self.file.seeds),
            "cells": [cell.as_json() for cell in self.cells],
            "runs": {run_id: referring(run) for run_id, run in runs.items()},
        }


def expand(document: Document, name: str, root: Path) -> Grid:
    """Make the grid of a suite file; all that is wrong with it is one ``UserError``.

    ``root`` is where the data lie: only folders of images are looked at there. Raises
    ``BadMethod`` where a method does not work.
    """
    file, problems = check(SuiteFile, document.data)
    raw = document.data if isinstance(document.data, dict) else {}
    # Names and parameters are checked even where the form is wrong: all problems at once.
    wrong_names = list(problems_of_names(raw, root))
    problems += [*wrong_names, *entry_problems(raw.get("methods"))]
    dataset = None
    if file is not None:
        merged = {**file.recipe.model_dump(mode="json"), **file.teacher.recipe}
        teacher_recipe, more = check(Recipe, merged, at=("teacher", "recipe"))
        problems += more
        problems += [p for network in file.recipes for p in file.recipe_of(network)[1]]
        if not wrong_names:
            dataset, more = file.images.resolve(find(file.images.name, root))
            problems += more
    if file is None or teacher_recipe is None or dataset is None or problems:
        document.fail(problems)
    columns = list(make_columns(file, dataset, teacher_recipe, root))
    rows = entries(file.methods)
    reasons = judged(file, rows, [column.scene for column in columns])
    cells = [
        cell
        for index, column in enumerate(columns)
        for cell in make_cells(file, zip(rows, reasons[column.scene], strict=True), index, column)
    ]
    return Grid(name, file.title, digest(document.data), file, columns, cells)


def referring(run: Run) -> dict[str, Any]:
    """Return a run as plain data; one that it needs and that is trained here is told by its id."""
    field = "backbone" if isinstance(run, ProbeRun) else "teacher"
    if not run.trains_first:
        return run.plain
    # Ten thousand students would else repeat their teacher, in a file that `status` reads.
    own = {name: value for name, value in run.plain.items() if name != field}
    return {**own, field: run.trains_first[-1].id}


def departures(file: SuiteFile, columns: Sequence[Column]) -> Iterator[str]:
    """Yield what is not as a reader would take it to be: `at beta = 250`, `teacher epochs = 40`."""
    if file.numerics != "strict":
        yield f"numerics = {file.numerics}"
    for entry in entries(file.methods):
        yield from entry.departures()
    for network in dict.fromkeys(c.student for c in columns if c.student in file.recipes):
        for key, value in file.recipes[network].items():
            yield f"{network} {key} = {shown(value)}"
    for brought in dict.fromkeys(c.teacher for c in columns if isinstance(c.teacher, Imported)):
        yield f"{brought.student} imported ({brought.weights[:10]})"
    trained = [column.trained for column in columns if column.teacher is column.trained]
    students = file.recipe.model_dump(mode="json")
    for key, value in trained[0].recipe.model_dump(mode="json").items() if trained else ():
        if value != students[key] and key != "init_epochs":
            yield f"teacher {key} = {shown(value)}"


def as_published(entry: Entry) -> tuple[str, str]:
    """Return a row and what a published number must be of: `kd; alpha = 0.5; temperature = 1`.

    The weights of a sum are in no name, as few papers state them; a control is nobody's method.
    """
    told = f"{entry.label} "
    changed = (d.removeprefix(told) for d in entry.departures() if not d.startswith(f"{told}= "))
    name = "" if entry.control else entry.config.name
    return entry.label, "; ".join([name, *sorted(changed)])


def needs_teacher(file: SuiteFile) -> bool:
    """Whether any of a suite's methods has a trained teacher."""
    return any(e.spec.kind.needs_teacher and not e.control for e in entries(file.methods))


# ---------------------------------------------------------------- the expansion


def judged(
    file: SuiteFile, rows: Sequence[Entry], scenes: Iterable[Scene]
) -> dict[Scene, list[str | None]]:
    """Say of every pair why rows cannot distil it, and try those that can. Raises ``BadMethod``."""
    # By teacher, for those are the large networks, and each process builds its own.
    parts: dict[str, list[Scene]] = {}
    for scene in dict.fromkeys(scenes):
        parts.setdefault(scene.teacher, []).append(scene)
    found = shared(partial(verdicts, file, rows), list(parts.values()))
    return dict(verdict for part in found for verdict in part)


def verdicts(
    file: SuiteFile, rows: Sequence[Entry], scenes: Sequence[Scene]
) -> list[tuple[Scene, list[str | None]]]:
    """Do so for a few pairs in this process."""
    return [(scene, [verdict(file, entry, scene) for entry in rows]) for scene in scenes]


def verdict(file: SuiteFile, entry: Entry, scene: Scene) -> str | None:
    """Say why a row cannot distil a pair; None where it can and a trial has shown it."""
    recipe, _ = file.recipe_of(scene.student)
    assert recipe is not None  # checked before
    reason = mismatch(entry, scene)
    if reason is None:
        attempt(entry, scene, recipe.batch_size, Budget(recipe.epochs, recipe.init_epochs))
    return reason


def make_cells(
    file: SuiteFile, rows: Iterable[tuple[Entry, str | None]], index: int, column: Column
) -> Iterator[Cell]:
    """Make a column's cells: every row with every seed."""
    for entry, reason in rows:
        first = None if reason else student_run(file, column, entry)
        for seed in file.seeds:
            run = first and first.model_copy(update={"seed": seed})
            asked = column.probing.of(run, seed) if run and column.probing else run
            yield Cell(index, entry.label, seed, asked, reason)


def student_run(file: SuiteFile, column: Column, entry: Entry) -> TrainRun:
    """Make the run of a row's first seed."""
    recipe, _ = file.recipe_of(column.student)
    assert recipe is not None  # checked before
    taught = entry.spec.kind.needs_teacher
    teacher = column.untrained if entry.control else column.teacher
    # A method without initialising epochs is the same run wherever such epochs are counted.
    recipe = recipe if taught else recipe.model_copy(update={"init_epochs": "inside"})
    return TrainRun(
        dataset=column.trained.dataset,
        student=column.student,
        method=entry.config,
        teacher=teacher if taught else None,
        recipe=recipe,
        seed=file.seeds[0],
        numerics=file.numerics,
    )
