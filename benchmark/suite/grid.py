"""Expand a suite file to its grid: every run, or the reason why a cell has no run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.document import Document
from benchmark.config.recipe import Recipe
from benchmark.config.runs import ImportedTeacher, ProbeRun, Run, TrainRun
from benchmark.config.validation import short_digest, validate
from benchmark.data import find_data_set, is_local
from benchmark.data.counts import image_counts
from benchmark.suite.columns import GridColumn, make_columns
from benchmark.suite.dry_run import (
    EpochSize,
    NetworkPair,
    dry_run_method,
    explain_last_batch,
    mismatch_reason,
    try_one_image,
)
from benchmark.suite.names import name_problems
from benchmark.suite.rows import Row, format_value, parse_rows, row_problems
from benchmark.suite.schema import SuiteFile
from benchmark.suite.sweeps import expand_sweeps
from methods.interface import Budget


@dataclass(frozen=True)
class GridCell:
    """One cell of the grid: a run, or the reason why there is none."""

    column: int
    method: str
    seed: int
    run: Run | None
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the cell as JSON data, with the run's id in place of the run."""
        run = self.run and self.run.id
        names = {"column": self.column, "method": self.method, "seed": self.seed}
        return {**names, "run": run, "reason": self.reason}


@dataclass(frozen=True)
class SuiteGrid:
    """A suite, expanded to all of its runs."""

    name: str
    title: str
    digest: str
    """Hash of the suite's data; part of the manifest's file name."""
    file: SuiteFile
    columns: Sequence[GridColumn]
    cells: Sequence[GridCell]

    def runs(self) -> dict[str, Run]:
        """Return every run by id, each after the runs that it needs."""
        columns = self.columns if needs_trained_teacher(self.file) else ()
        teachers = [run for c in columns if not isinstance(run := c.teacher_run, ImportedTeacher)]
        students = [cell.run for cell in self.cells if cell.run is not None]
        wanted = [*teachers, *students]
        needed = [need for run in wanted for need in run.trains_first]
        return {run.id: run for run in (*needed, *wanted)}

    def manifest(self, code: str) -> dict[str, Any]:
        """Return the grid as JSON data, which reports and `status` read without torch."""
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
            # Each phase has at least one epoch, so one epoch cannot hold an initialising phase too.
            "init_epochs": recipe.init_epochs if recipe.epochs > 1 else "extra",
            "epochs": recipe.epochs,
            "departures": list(departures(self.file, self.columns)),
            "table": self.file.table.model_dump(mode="json"),
            "as_published": dict(map(as_published, parse_rows(self.file.methods))),
            "methods": list(self.file.methods),
            "probes": [
                c.probe.caption() for c in self.columns[: 1 + len(self.file.probes)] if c.probe
            ],
            "columns": [
                {
                    "dataset": column.heading,
                    "teacher": column.teacher.student,
                    "student": column.student,
                    "teacher_run": column.teacher_run.id
                    if needs_trained_teacher(self.file)
                    else None,
                }
                for column in self.columns
            ],
            "seeds": list(self.file.seeds),
            "cells": [cell.as_json() for cell in self.cells],
            "runs": {run_id: run_with_references(run) for run_id, run in runs.items()},
        }


def expand_suite(document: Document, name: str, root: Path) -> SuiteGrid:
    """Return the grid of a suite file.

    ``root`` is the folder of the data sets; only folders of images are read there. Raises one
    ``UserError`` that lists all mistakes in the file, or ``BadMethod`` if a method does not work.
    """
    file, problems = validate(SuiteFile, document.data)
    raw = document.data if isinstance(document.data, dict) else {}
    # Check names and parameters even if the file is invalid, so that all mistakes are reported.
    mistaken_names = list(name_problems(raw, root))
    problems += [*mistaken_names, *row_problems(raw.get("methods"))]
    dataset = None
    if file is not None:
        merged = {**file.recipe.model_dump(mode="json"), **file.teacher.recipe}
        teacher_recipe, more = validate(Recipe, merged, at=("teacher", "recipe"))
        problems += more
        problems += [p for network in file.recipes for p in file.recipe_of(network)[1]]
        if not mistaken_names:
            dataset, more = file.images.resolve(find_data_set(file.images.name, root))
            problems += more
    if file is None or teacher_recipe is None or dataset is None or problems:
        document.fail(problems)
    file = file.model_copy(update={"methods": expand_sweeps(file.methods)})
    columns = list(make_columns(file, dataset, teacher_recipe, root))
    rows = parse_rows(file.methods)
    images = image_counts(dataset, root)
    reasons = mismatch_reasons(
        file, rows, [column.networks for column in columns], images and images[0]
    )
    if needs_trained_teacher(file) and images is not None:
        try_teachers_last_batch(columns, images[0])
    cells = [
        cell
        for index, column in enumerate(columns)
        for cell in make_cells(
            file, zip(rows, reasons[column.networks], strict=True), index, column
        )
    ]
    return SuiteGrid(name, file.title, short_digest(document.data), file, columns, cells)


def run_with_references(run: Run) -> dict[str, Any]:
    """Return a run as JSON data, with the id of the run it needs in place of that run.

    An imported teacher, which is not a run, stays in place.
    """
    field = "backbone" if isinstance(run, ProbeRun) else "teacher"
    if not run.trains_first:
        return run.plain
    # Otherwise ten thousand students would repeat their teacher in a file that `status` reads.
    own = {name: value for name, value in run.plain.items() if name != field}
    return {**own, field: run.trains_first[-1].id}


def departures(file: SuiteFile, columns: Sequence[GridColumn]) -> Iterator[str]:
    """Yield every setting that differs from its default: `at beta = 250`, `teacher epochs = 40`."""
    if file.numerics != "strict":
        yield f"numerics = {file.numerics}"
    for row in parse_rows(file.methods):
        yield from row.departures()
    for network in dict.fromkeys(c.student for c in columns if c.student in file.recipes):
        for key, value in file.recipes[network].items():
            yield f"{network} {key} = {format_value(value)}"
    for imported in dict.fromkeys(
        c.teacher for c in columns if isinstance(c.teacher, ImportedTeacher)
    ):
        yield f"{imported.student} imported ({imported.weights[:10]})"
    trained = [column.trained for column in columns if column.teacher is column.trained]
    students = file.recipe.model_dump(mode="json")
    for key, value in trained[0].recipe.model_dump(mode="json").items() if trained else ():
        if value != students[key] and key != "init_epochs":
            yield f"teacher {key} = {format_value(value)}"


def as_published(row: Row) -> tuple[str, str]:
    """Return a row's label and the key of its published numbers: `kd; temperature = 1`.

    The key is the method's name and its changed parameters. The weights of a composition are left
    out, since few papers state them. A control has no name, since nobody publishes it.
    """
    changed = [f"{name} = {format_value(value)}" for name, value in row.changes().items()]
    name = "" if row.control else row.config.name
    return row.label, "; ".join([name, *sorted(changed)])


def needs_trained_teacher(file: SuiteFile) -> bool:
    """Return whether any row of the suite uses a trained teacher."""
    return any(row.spec.kind.needs_teacher and not row.control for row in parse_rows(file.methods))


# ---------------------------------------------------------------- the expansion


def mismatch_reasons(
    file: SuiteFile, rows: Sequence[Row], pairs: Iterable[NetworkPair], images: int | None
) -> dict[NetworkPair, list[str | None]]:
    """Return, for each pair, one entry per row: why the row cannot distil the pair, or None.

    Rows that can are run on one batch of noise; ``images`` is the number of images of an epoch.
    Raises ``BadMethod`` if such a dry run fails.
    """
    return {
        pair: [mismatch_or_dry_run(file, row, pair, images) for row in rows]
        for pair in dict.fromkeys(pairs)
    }


def mismatch_or_dry_run(
    file: SuiteFile, row: Row, pair: NetworkPair, images: int | None
) -> str | None:
    """Return why a row cannot distil a pair; None if it can, after a dry run of the method."""
    recipe, _ = file.recipe_of(pair.student)
    assert recipe is not None  # ``expand_suite`` has checked it
    reason = mismatch_reason(row, pair)
    if reason is None:
        budget = Budget(recipe.epochs, recipe.init_epochs)
        dry_run_method(row, pair, recipe.batch_size, budget, images)
    return reason


def try_teachers_last_batch(columns: Iterable[GridColumn], images: int) -> None:
    """Raise UserError if a teacher to be trained cannot be trained on an epoch's last batch."""
    for column in columns:
        run, pair = column.trained, column.networks
        epoch = EpochSize(images, run.recipe.batch_size)
        if column.teacher is run and epoch.last_batch == 1:
            with explain_last_batch(f"the teacher {run.student}", type(run), epoch):
                try_one_image(run.student, pair.classes, pair.size)


def make_cells(
    file: SuiteFile, rows: Iterable[tuple[Row, str | None]], index: int, column: GridColumn
) -> Iterator[GridCell]:
    """Yield a column's cells: every row with every seed."""
    for row, reason in rows:
        first = None if reason else make_student_run(file, column, row)
        for seed in file.seeds:
            run = first and first.model_copy(update={"seed": seed})
            probe_or_run = column.probe.run_for(run, seed) if run and column.probe else run
            yield GridCell(index, row.label, seed, probe_or_run, reason)


def make_student_run(file: SuiteFile, column: GridColumn, row: Row) -> TrainRun:
    """Return a row's run with the suite's first seed."""
    recipe, _ = file.recipe_of(column.student)
    assert recipe is not None  # ``expand_suite`` has checked it
    taught = row.spec.kind.needs_teacher
    teacher = column.untrained if row.control else column.teacher
    # A method without a teacher has no initialising epochs, so this field must not change its id.
    recipe = recipe if taught else recipe.model_copy(update={"init_epochs": "inside"})
    return TrainRun(
        dataset=column.trained.dataset,
        student=column.student,
        method=row.config,
        teacher=teacher if taught else None,
        recipe=recipe,
        seed=file.seeds[0],
        numerics=file.numerics,
    )
