"""A suite file and the grid of runs that it expands to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from benchmark.config import Document, Problem, Strict, check, digest
from benchmark.data import SOURCES
from benchmark.entries import Entry, entries, shown
from benchmark.entries import problems as entry_problems
from benchmark.naming import ARROW, problems_of_names
from benchmark.runs import DatasetConfig, Imported, MethodConfig, Positive, Recipe, TrainRun
from benchmark.trial import Scene, attempt, mismatch
from methods.interface import Budget

Seed = Annotated[int, Field(ge=0)]
Pair = tuple[str, str]
Weights = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DatasetPart(Strict):
    """`dataset:` of a suite file; what is left out is the data set's own default."""

    name: str
    limit: Positive | None = None
    validation: Positive | None = None
    padding: Annotated[int, Field(ge=0)] | None = None
    flip: bool | None = None


class TeacherPart(Strict):
    """`teacher:` of a suite file: where the teachers' training differs from the students'."""

    seed: Seed = 0
    recipe: dict[str, Any] = Field(default_factory=dict)
    imported: dict[str, Weights] = Field(default_factory=dict)
    """By network: the weights of teachers that `run_all.py teachers import` brought in."""


class SuiteFile(Strict):
    """A suite file as it is written."""

    title: str
    dataset: str | DatasetPart
    pairs: Annotated[tuple[str, ...], Field(min_length=1)]
    """`teacher -> student`, by network names."""
    methods: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    """Rows by label, with the parameters that differ from the method's defaults; see ``entry``."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    recipe: Recipe
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By student network: where its recipe differs, whatever teaches it."""
    teacher: TeacherPart = TeacherPart()
    numerics: Literal["strict"] = "strict"

    def recipe_of(self, student: str) -> tuple[Recipe | None, list[Problem]]:
        """Lay a network's own values over the common recipe."""
        merged = {**self.recipe.model_dump(mode="json"), **self.recipes.get(student, {})}
        return check(Recipe, merged, at=("recipes", student))


@dataclass(frozen=True)
class Cell:
    """One place of the grid: a run, or the reason why there can be none."""

    column: int
    method: str
    seed: int
    run: TrainRun | None
    reason: str | None


@dataclass(frozen=True)
class Column:
    """One teacher-student pair on one data set."""

    dataset: str
    student: str
    trained: TrainRun
    """The teacher as it is trained here."""
    teacher: TrainRun | Imported
    """The one that teaches: trained here, or brought in."""

    @property
    def untrained(self) -> TrainRun:
        """The controls' teacher: the weights that the teacher's training began with."""
        recipe = self.trained.recipe.model_copy(update={"epochs": 1})
        return self.trained.model_copy(update={"method": plain("untrained"), "recipe": recipe})


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

    def runs(self) -> dict[str, TrainRun]:
        """Return every run by id, teachers first."""
        columns = self.columns if needs_teacher(self.file) else ()
        teachers = [c.trained for c in columns if c.teacher is c.trained]
        students = [cell.run for cell in self.cells if cell.run is not None]
        needed = [need for run in students for need in run.trains_first]
        return {run.id: run for run in (*teachers, *needed, *students)}

    def manifest(self, code: str) -> dict[str, Any]:
        """Return the grid as plain data: what reports and `status` read, without torch."""
        recipe = self.file.recipe
        dataset = self.columns[0].trained.dataset
        return {
            "schema": 1,
            "suite": self.name,
            "title": self.title,
            "digest": self.digest,
            "code": code,
            "dataset": self.columns[0].dataset,
            "dataset_limit": dataset.limit,
            "validation": dataset.validation,
            # A phase is one epoch long at least: of a single epoch, none is left for another phase.
            "init_epochs": recipe.init_epochs if recipe.epochs > 1 else "extra",
            "epochs": recipe.epochs,
            "departures": list(departures(self.file, self.columns)),
            "methods": list(self.file.methods),
            "columns": [
                {
                    "dataset": column.dataset,
                    "teacher": column.teacher.student,
                    "student": column.student,
                    "teacher_run": column.teacher.id if needs_teacher(self.file) else None,
                }
                for column in self.columns
            ],
            "seeds": list(self.file.seeds),
            "cells": [asdict(cell) | {"run": cell.run and cell.run.id} for cell in self.cells],
            "runs": {run_id: run.as_json() for run_id, run in self.runs().items()},
        }


def expand(document: Document, name: str) -> Grid:
    """Make the grid of a suite file; all that is wrong with it is one ``UserError``."""
    file, problems = check(SuiteFile, document.data)
    raw = document.data if isinstance(document.data, dict) else {}
    # Names and parameters are checked even where the form is wrong: all problems at once.
    problems += [*problems_of_names(raw), *entry_problems(raw.get("methods"))]
    if file is not None:
        merged = {**file.recipe.model_dump(mode="json"), **file.teacher.recipe}
        teacher_recipe, more = check(Recipe, merged, at=("teacher", "recipe"))
        problems += more
        problems += [p for network in file.recipes for p in file.recipe_of(network)[1]]
    if file is None or teacher_recipe is None or problems:
        document.fail(problems)
    columns = list(make_columns(file, teacher_recipe))
    cells = [cell for i, column in enumerate(columns) for cell in make_cells(file, i, column)]
    return Grid(name, file.title, digest(document.data), file, columns, cells)


def departures(file: SuiteFile, columns: Sequence[Column]) -> Iterator[str]:
    """Yield what is not as a reader would take it to be: `at beta = 250`, `teacher epochs = 40`."""
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


def needs_teacher(file: SuiteFile) -> bool:
    """Whether any of a suite's methods has a trained teacher."""
    return any(e.spec.kind.needs_teacher and not e.control for e in entries(file.methods))


# ---------------------------------------------------------------- the expansion


def make_columns(file: SuiteFile, teacher_recipe: Recipe) -> Iterator[Column]:
    """Make a column of every pair, with its teacher's run."""
    part = file.dataset if isinstance(file.dataset, DatasetPart) else DatasetPart(name=file.dataset)
    source = SOURCES[part.name]
    dataset = DatasetConfig(
        name=source.name,
        version=source.version,
        limit=part.limit,
        validation=part.validation,
        padding=source.padding if part.padding is None else part.padding,
        flip=source.flip if part.flip is None else part.flip,
    )
    for teacher, student in map(split_pair, file.pairs):
        run = TrainRun(
            dataset=dataset,
            student=teacher,
            method=plain("scratch"),
            teacher=None,
            recipe=teacher_recipe.model_copy(update={"init_epochs": "inside"}),
            seed=file.teacher.seed,
            numerics=file.numerics,
        )
        weights = file.teacher.imported.get(teacher)
        brought = weights and Imported(dataset=source.name, student=teacher, weights=weights)
        yield Column(source.name, student, run, brought or run)


def make_cells(file: SuiteFile, index: int, column: Column) -> Iterator[Cell]:
    """Make a column's cells: every row with every seed. Raises ``BadMethod``."""
    source, (recipe, _) = SOURCES[column.dataset], file.recipe_of(column.student)
    assert recipe is not None  # checked before
    scene = Scene(column.student, column.teacher.student, source.classes, source.size)
    for entry in entries(file.methods):
        reason = mismatch(entry, scene)
        if reason is None:
            attempt(entry, scene, recipe.batch_size, Budget(recipe.epochs, recipe.init_epochs))
        for seed in file.seeds:
            run = None if reason else student_run(file, column, entry, recipe, seed)
            yield Cell(index, entry.label, seed, run, reason)


def student_run(
    file: SuiteFile, column: Column, entry: Entry, recipe: Recipe, seed: int
) -> TrainRun:
    """Make the run of one cell."""
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
        seed=seed,
        numerics=file.numerics,
    )


def split_pair(text: str) -> Pair:
    """Read 'teacher -> student'."""
    match = ARROW.fullmatch(text.strip())
    assert match is not None  # checked before
    return match.group(1), match.group(2)


def plain(name: str) -> MethodConfig:
    """Return a method as it is by default."""
    [entry] = entries({name: None})
    return entry.config
