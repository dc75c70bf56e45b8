"""Numbers of the literature: read, checked, and matched with cells. Never mixed with ours."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.config.errors import UserError
from benchmark.report.results.outcomes import Column, Manifest
from benchmark.store.record import Percent

FOLDER = (Path(__file__).parents[1] / "numbers").resolve()
"""A link to results/published, by which what is installed has a copy of its files."""

At = tuple[int, str]  # column of the manifest, row; the teacher's row is "teacher"
T = TypeVar("T")
Word = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Source:
    """One table of a paper or a repository; `key` is what its lines begin with."""

    key: Word
    title: Word
    where: Word
    n: Annotated[int, Field(gt=0)] | None
    """Runs a number is the mean of; None where the source does not say."""
    epoch: Word
    """Which epoch's accuracy it is: last, best, median of last, unknown."""


@dataclass(frozen=True)
class Value:
    """One number: top-1 in percent, for a method as a suite would name it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    source: Word
    dataset: Word
    protocol: str
    """Of a linear probe; empty where it is the accuracy that was trained for."""
    teacher: str
    """Empty where the number needs none."""
    student: Word
    method: Word
    """With preset and what departs from it, as in `ab@crd` or `kd; temperature = 1`."""
    top1: Percent
    std: Annotated[float, Field(ge=0)] | None
    n: Annotated[int, Field(gt=0)] | None
    """Where it is not the source's."""
    epoch: str
    """Where it is not the source's."""
    status: Literal["", "copied", "unverified", "differs"]
    """Differs: shown, but what was trained is not what its name means here."""
    note: str


@dataclass(frozen=True)
class Library:
    """All published numbers, with their sources by key."""

    sources: Mapping[str, Source]
    values: Sequence[Value]

    def n(self, value: Value) -> int | None:
        """Of how many runs a number is the mean."""
        return value.n or self.sources[value.source].n

    def epoch(self, value: Value) -> str:
        """Which epoch's accuracy a number is."""
        return value.epoch or self.sources[value.source].epoch


@cache
def library(folder: Path = FOLDER) -> Library:
    """Read and check the published numbers. Raises UserError that names file and line."""
    sources = {row.key: row for row in _read(folder / "sources.csv", _SOURCE)}
    files = sorted(path for path in folder.glob("*.csv") if path.name != "sources.csv")
    values = [value for path in files for value in _values(path, sources)]
    return Library(sources, values)


def match(grid: Manifest, known: Library) -> dict[At, list[Value]]:
    """What is published of each cell: same data set, probe, networks, method, preset, values.

    Nothing is published of a part of a data set, nor of held-out train images.
    """
    if grid.dataset_limit is not None or grid.validation is not None:
        return {}
    found: dict[At, list[Value]] = {}
    by_key: dict[tuple[str, ...], list[Value]] = {}
    for value in known.values:
        by_key.setdefault(_key(value), []).append(value)
    for place, column in enumerate(grid.columns):
        what = _measured(grid, place)
        if what is None:
            continue
        for row in ("teacher", *grid.methods):
            values = by_key.get(_sought(what, column, row, grid), [])
            if values:
                found[place, row] = values
    return found


def _values(path: Path, sources: Mapping[str, Source]) -> list[Value]:
    values = _read(path, _VALUE)
    for line, value in enumerate(values, start=2):
        if value.source not in sources:
            raise UserError(f"{path}: line {line}: source {value.source!r} is not in sources.csv")
    return values


def _read(path: Path, kind: TypeAdapter[T]) -> list[T]:
    """The lines of a file; what is left empty in a number's place is unknown."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, strict=True))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no table: {error}") from error
    made = []
    for number, line in enumerate(lines, start=2):
        given = {k: None if v == "" and k in _NUMBERS else v for k, v in line.items()}
        try:
            made.append(kind.validate_python(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: line {number}: {where}: {first['msg']}") from error
    return made


def _measured(grid: Manifest, place: int) -> tuple[str, str] | None:
    """The data set and probe of a column, as a run of it says; None where that is a part of one."""
    ids = (cell.run for cell in grid.cells if cell.column == place and cell.run)
    run = grid.runs.get(next(ids, ""))
    if run is None:
        return None
    dataset, protocol = run["dataset"], run["protocol"]
    if dataset.get("limit") is not None:
        return None
    return dataset["name"], protocol if isinstance(protocol, str) else ""


def _sought(what: tuple[str, str], column: Column, row: str, grid: Manifest) -> tuple[str, ...]:
    """What a published number must say of itself to stand beside a cell."""
    if row == "teacher":  # the same in every column that it teaches in
        return (*what, "", column.teacher, "scratch")
    return (*what, column.teacher, column.student, grid.as_published.get(row, ""))


def _key(value: Value) -> tuple[str, ...]:
    return value.dataset, value.protocol, value.teacher, value.student, value.method


_NUMBERS = {field.name for field in fields(Value) if field.name in ("top1", "std", "n")}
_SOURCE, _VALUE = TypeAdapter(Source), TypeAdapter(Value)
