"""What the report knows of a suite and its runs, typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.store.record import Fidelity, Record

State = Literal["done", "failed", "missing", "not applicable"]


@dataclass(frozen=True)
class Column:
    """A teacher-student pair on a data set."""

    dataset: str
    teacher: str
    student: str
    teacher_run: str | None
    shown: tuple[str, str] | None = None
    """What tables call data set and pair, where the suite says."""

    @property
    def pair(self) -> str:
        """As a suite writes it."""
        return f"{self.teacher} -> {self.student}"


Names = tuple[str, ...] | dict[str, str] | None
"""Which, in this order; of a mapping, under these names."""


@dataclass(frozen=True)
class Choice:
    """What of a grid its tables show."""

    rows: Names = None
    pairs: Names = None
    datasets: Names = None


@dataclass(frozen=True)
class Place:
    """A run's place in the grid; without a run, the reason why there cannot be one."""

    column: int
    method: str
    seed: int
    run: str | None
    reason: str | None


@dataclass(frozen=True)
class Manifest:
    """A suite expanded to its grid: everything a report says that no record knows."""

    schema: Literal[1]
    suite: str
    title: str
    digest: str
    dataset: str
    dataset_limit: int | None
    init_epochs: Literal["inside", "extra"]
    epochs: int
    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    cells: tuple[Place, ...]
    departures: tuple[str, ...] = ()
    validation: int | None = None
    probes: tuple[str, ...] = ()
    """What the columns of probes are."""
    table: Choice = Choice()
    as_published: Mapping[str, str] = field(default_factory=dict)
    """By row: method, preset and what departs from them, as published numbers are told by."""
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """What the numbers are: of the test images, or of train images that were held out."""
        return "test top-1" if self.validation is None else "validation top-1"


@dataclass(frozen=True)
class Outcome:
    """What became of one run; a teacher's has no seed of the suite's."""

    seed: int | None
    run: str | None
    state: State
    record: Record | None = None
    failure: str | None = None
    reason: str | None = None
    fidelity: Fidelity | None = None
    """As the record has it; of a run without a teacher, to that of the column it stands in."""


@dataclass(frozen=True)
class Results:
    """A manifest with the outcome of every run in it."""

    manifest: Manifest
    teachers: tuple[Outcome, ...]  # one a column
    students: Mapping[tuple[int, str], tuple[Outcome, ...]]  # by column and method, in seeds' order

    def any_done(self) -> bool:
        """Whether there is at least one student's number to show."""
        return any(o.state == "done" for outcomes in self.students.values() for o in outcomes)


STEEP = 1.5  # the learning rate dropped where it was more than this many times higher before


FEW_DROPS = 5  # more are a schedule that falls all the time, and no mark says that
