"""Accuracies published in papers: read from CSV files, validated, and matched with table cells.

They are shown in columns of their own and enter no mean, test or rank.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.config.errors import UserError
from benchmark.store.manifest import Manifest, ManifestColumn
from benchmark.store.measures import Percent

PUBLISHED_FOLDER = (Path(__file__).parents[1] / "numbers").resolve()
"""`report/numbers` links to `results/published`, so that an installed package has its files."""

PublishedKey = tuple[int, str]
"""Column index in the manifest and row name; the teacher's row is "teacher"."""
T = TypeVar("T")
NonEmptyText = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class PublishedSource:
    """A row of `sources.csv`: one table of a paper or repository."""

    key: NonEmptyText
    """Published values refer to their source by it."""
    title: NonEmptyText
    where: NonEmptyText
    n: Annotated[int, Field(gt=0)] | None
    """How many runs each number is the mean of; None if the source does not state it."""
    epoch: NonEmptyText
    """The epoch whose accuracy is reported: last, best, median of last, unknown."""


@dataclass(frozen=True)
class PublishedValue:
    """A row of another CSV file: one published top-1 accuracy in percent."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    source: NonEmptyText
    """A `PublishedSource.key`."""
    dataset: NonEmptyText
    protocol: str
    """The protocol of a linear probe; empty if the network was trained on this data set."""
    teacher: str
    """Empty if the method has no teacher."""
    student: NonEmptyText
    method: NonEmptyText
    """Method, preset and changed parameters, as in `ab@crd` or `kd; temperature = 1`."""
    top1: Percent
    std: Annotated[float, Field(ge=0)] | None
    n: Annotated[int, Field(gt=0)] | None
    """How many runs it is the mean of, if that differs from the source's `n`."""
    epoch: str
    """The epoch of the accuracy, if that differs from the source's `epoch`."""
    status: Literal["", "copied", "unverified", "differs"]
    """`copied`: taken from another paper. `unverified`: not checked against the source.
    `differs`: the source trained something else under this name; the value is shown all the same.
    """
    note: str


@dataclass(frozen=True)
class PublishedResults:
    """All published values, and their sources by key."""

    sources: Mapping[str, PublishedSource]
    values: Sequence[PublishedValue]

    def n(self, value: PublishedValue) -> int | None:
        """Return the number of runs that a value is the mean of; None if unknown."""
        return value.n or self.sources[value.source].n

    def epoch(self, value: PublishedValue) -> str:
        """Return the epoch whose accuracy a value is."""
        return value.epoch or self.sources[value.source].epoch


@cache
def load_published(folder: Path = PUBLISHED_FOLDER) -> PublishedResults:
    """Read and validate the published values. A folder that does not exist has none.

    Raises UserError: a file is damaged or a row invalid; the message names file and line.
    """
    sources = {row.key: row for row in _read_rows(folder / "sources.csv", _SOURCE)}
    files = sorted(path for path in folder.glob("*.csv") if path.name not in _OTHER_FILES)
    values = [value for path in files for value in _read_values(path, sources)]
    return PublishedResults(sources, values)


def match_published(
    grid: Manifest, published: PublishedResults
) -> dict[PublishedKey, list[PublishedValue]]:
    """Return the published values of each cell that has any.

    A value belongs to a cell if data set, probe protocol, networks, method, preset and changed
    parameters are all the same. A suite on a part of a data set or on held-out train images has no
    published values.
    """
    if grid.dataset_limit is not None or grid.validation is not None:
        return {}
    values_by_key: dict[tuple[str, ...], list[PublishedValue]] = {}
    for value in published.values:
        values_by_key.setdefault(_key_of_value(value), []).append(value)
    matches: dict[PublishedKey, list[PublishedValue]] = {}
    for index, column in enumerate(grid.columns):
        measured_on = _dataset_and_protocol(grid, index)
        if measured_on is None:
            continue
        for row in ("teacher", *grid.methods):
            values = values_by_key.get(_key_of_cell(measured_on, column, row, grid), [])
            if values:
                matches[index, row] = values
    return matches


def _read_values(path: Path, sources: Mapping[str, PublishedSource]) -> list[PublishedValue]:
    values = _read_rows(path, _VALUE)
    for line, value in enumerate(values, start=2):
        if value.source not in sources:
            raise UserError(f"{path}: line {line}: source {value.source!r} is not in sources.csv")
    return values


def _read_rows(path: Path, row_type: TypeAdapter[T]) -> list[T]:
    """Return the validated rows of a CSV file. An empty numeric field becomes None."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, strict=True))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a valid CSV file: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=2):
        fields_of_line = {
            k: None if v == "" and k in _NUMERIC_FIELDS else v for k, v in line.items()
        }
        try:
            rows.append(row_type.validate_python(fields_of_line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: line {number}: {where}: {first['msg']}") from error
    return rows


def _dataset_and_protocol(grid: Manifest, index: int) -> tuple[str, str] | None:
    """Return a column's data set and probe protocol, from the configuration of one of its runs.

    The result is None if the column has no run or uses a part of the data set.
    """
    ids = (cell.run for cell in grid.cells if cell.column == index and cell.run)
    run = grid.runs.get(next(ids, ""))
    if run is None:
        return None
    dataset, protocol = run["dataset"], run["protocol"]
    if dataset.get("limit") is not None:
        return None
    return dataset["name"], protocol if isinstance(protocol, str) else ""


def _key_of_cell(
    measured_on: tuple[str, str], column: ManifestColumn, row: str, grid: Manifest
) -> tuple[str, ...]:
    """Return the `_key_of_value` of the published values that belong to a cell."""
    if row == "teacher":  # a teacher's accuracy does not depend on the student
        return (*measured_on, "", column.teacher, "scratch")
    return (*measured_on, column.teacher, column.student, grid.as_published.get(row, ""))


def _key_of_value(value: PublishedValue) -> tuple[str, ...]:
    return value.dataset, value.protocol, value.teacher, value.student, value.method


_NUMERIC_FIELDS = {"top1", "std", "n"}
_OTHER_FILES = {"sources.csv", "parameters.csv"}
"""The second states the parameters that the sources used; the tests compare runs with them."""
_SOURCE, _VALUE = TypeAdapter(PublishedSource), TypeAdapter(PublishedValue)
