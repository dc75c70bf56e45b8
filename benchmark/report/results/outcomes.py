"""The types of a suite's manifest and of the outcomes of its runs, as the report uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.store.record import Fidelity, Record

State = Literal["done", "failed", "missing", "not applicable"]

LR_DROP_FACTOR = 1.5
"""An epoch ends with a learning-rate drop if its rate is more than this many times the next."""
MAX_LR_DROPS = 5
"""A history with more drops has a continuous schedule, whose drops are not marked."""


@dataclass(frozen=True)
class ManifestColumn:
    """One column of a suite's grid: a teacher-student pair on a data set."""

    dataset: str
    teacher: str
    student: str
    teacher_run: str | None
    """The id of the teacher's run; None if the suite trains no teacher."""
    display_names: tuple[str, str] | None = None
    """Data set and pair as tables name them, if the suite sets names of its own."""

    @property
    def pair(self) -> str:
        """The pair as a suite file writes it."""
        return f"{self.teacher} -> {self.student}"


NameSelection = tuple[str, ...] | dict[str, str] | None
"""Names in table order. A dict maps each name to its display name; None selects all names."""


@dataclass(frozen=True)
class TableChoice:
    """The rows and columns of the grid that the suite's tables include."""

    rows: NameSelection = None
    pairs: NameSelection = None
    datasets: NameSelection = None


@dataclass(frozen=True)
class ManifestCell:
    """One method with one seed in one column: the id of its run, or why it has none."""

    column: int
    """Index into `Manifest.columns`."""
    method: str
    seed: int
    run: str | None
    reason: str | None
    """Why the method does not apply to this pair; None if there is a run."""


@dataclass(frozen=True)
class Manifest:
    """A suite expanded to its grid: all facts of a report that the records do not have."""

    schema: Literal[1]
    suite: str
    title: str
    digest: str
    dataset: str
    dataset_limit: int | None
    init_epochs: Literal["inside", "extra"]
    epochs: int
    methods: tuple[str, ...]
    columns: tuple[ManifestColumn, ...]
    seeds: tuple[int, ...]
    cells: tuple[ManifestCell, ...]
    departures: tuple[str, ...] = ()
    """Parameters that are not at their default, as text."""
    validation: int | None = None
    """Train images held out for validation; None if runs are evaluated on the test images."""
    probes: tuple[str, ...] = ()
    """A description of each column that is a linear probe."""
    table: TableChoice = TableChoice()
    as_published: Mapping[str, str] = field(default_factory=dict)
    """By row: method, preset and changed parameters, as the published numbers name them."""
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The resolved configuration of each run, by run id."""

    @property
    def measure(self) -> str:
        """What the accuracies are: on test images, or on held-out train images."""
        return "test top-1" if self.validation is None else "validation top-1"


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    seed: int | None
    """None for a teacher."""
    run: str | None
    state: State
    record: Record | None = None
    """Not None if and only if the state is "done"."""
    failure: str | None = None
    """The message of a failed run."""
    reason: str | None = None
    """Why the method is not applicable."""
    fidelity: Fidelity | None = None
    """Similarity to the run's teacher. A run without one is compared with its column's teacher."""


@dataclass(frozen=True)
class Results:
    """A manifest and the outcome of every run in it."""

    manifest: Manifest
    teachers: tuple[Outcome, ...]
    """One for each column."""
    students: Mapping[tuple[int, str], tuple[Outcome, ...]]
    """By column index and method, in the order of `Manifest.seeds`."""

    def any_done(self) -> bool:
        """Return whether at least one student run is done."""
        return any(o.state == "done" for outcomes in self.students.values() for o in outcomes)
