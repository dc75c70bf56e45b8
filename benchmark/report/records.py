"""What the run folders hold, read once and typed: the only door between files and the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from benchmark.errors import UserError

State = Literal["done", "failed", "missing", "not applicable"]
Percent = Annotated[float, Field(ge=0, le=100)]
T = TypeVar("T")


@dataclass(frozen=True)
class Epoch:
    """One epoch of a run's history: test top-1 in percent after it, and the phase it belongs to."""

    epoch: int
    phase: str
    top1: Percent
    losses: Mapping[str, float] = field(default_factory=dict)
    """Weighted means over the epoch, by term."""


@dataclass(frozen=True)
class Final:
    """What a run ends with: test top-1 in percent after the last epoch."""

    top1: Percent
    epoch: int


@dataclass(frozen=True)
class Cost:
    """How large the networks were: the student, and what its method deploys in its place."""

    parameters: int
    deployed_parameters: int | None = None
    connector_parameters: int = 0
    seconds: float = 0.0
    """Of all epochs: the run's share where several were trained at once."""
    peak_memory_mb: float | None = None
    """Of the process, with whatever it trained at once."""
    step_seconds: float | None = None
    """A training step of the student's own, without the teacher's pass: mean of all epochs."""
    teacher_seconds: float | None = None
    """The teacher's pass for one step, which a cohort shares: mean of the steps that had one."""
    images_per_second: float | None = None
    """Train images over all epochs, by the run's share of seconds, evaluation included."""
    gpu_hours: float | None = None
    energy_joules: float | None = None
    """The run's share of what its GPUs drew; None where no device tells."""
    flops: int | None = None
    """Of one image's forward pass through the student; a multiplication and an addition are two."""
    connector_flops: int | None = None
    """Of the last phase's loss for one image, connectors in it, forward."""
    deployed_flops: int | None = None


@dataclass(frozen=True)
class Sharpness:
    """How well predicted probabilities fit: all better when lower."""

    ece: Percent
    """Expected calibration error of the top-1 confidence, 15 bins of equal width, percent."""
    nll: float
    """Nats."""
    brier: float
    """Over all classes: 0 to 2."""


@dataclass(frozen=True)
class Calibration(Sharpness):
    """As trained, and after temperature scaling."""

    temperature: float
    """Fitted to all test images: says whether the network is too sure of itself (above 1)."""
    scaled: Sharpness
    """Each half of the test images at the temperature fitted to the other half."""


@dataclass(frozen=True)
class Fidelity:
    """How alike student and teacher are on the test images."""

    agreement: Percent
    """Same top-1 class."""
    kl: float
    """Mean of KL(teacher || student), nats."""
    error_agreement: Percent | None
    """Same top-1 class, of the images that the teacher has wrong; None where there is none."""


@dataclass(frozen=True)
class Measures:
    """What is measured of a finished network besides its accuracy."""

    calibration: Calibration
    fidelity: Fidelity | None = None
    """None without a teacher."""
    cka: Mapping[str, float] | None = None
    """Linear CKA with the teacher, by place: stem, stage 1 to n, embedding."""


@dataclass(frozen=True)
class Record:
    """A finished run, as far as tables and plots need it."""

    schema: Literal[1]
    id: str
    result: Final
    history: tuple[Epoch, ...]
    cost: Cost
    measures: Measures | None = None
    """None of a probe, and of runs older than measures."""
    remark: str | None = None
    """What a reader of the number must know, as of a teacher from elsewhere."""

    def best_on_test(self) -> Epoch:
        """The first epoch of highest test top-1: for papers that report it, not the default."""
        return max(self.history, key=lambda epoch: epoch.top1)

    def initialising(self) -> int:
        """How many epochs, counted from the first, lie before the last phase."""
        return sum(epoch.phase != self.history[-1].phase for epoch in self.history)


@dataclass(frozen=True)
class Failure:
    """Why a run broke off."""

    schema: Literal[1]
    message: str


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


@dataclass(frozen=True)
class Results:
    """A manifest with the outcome of every run in it."""

    manifest: Manifest
    teachers: tuple[Outcome, ...]  # one a column
    students: Mapping[tuple[int, str], tuple[Outcome, ...]]  # by column and method, in seeds' order

    def any_done(self) -> bool:
        """Whether there is at least one student's number to show."""
        return any(o.state == "done" for outcomes in self.students.values() for o in outcomes)


def load(manifest: Mapping[str, Any], runs: Path) -> Results:
    """Read the outcome of every run that `manifest` names from the folders under `runs`.

    A record wins over a failure, for then the run was tried again. Raises UserError, naming what
    it is, for a manifest, record or failure that is damaged.
    """
    try:
        grid = _MANIFEST.validate_python(manifest)
    except ValidationError as error:
        raise UserError(f"the suite's manifest cannot be used: {_first(error)}") from error
    places = {(cell.column, cell.method, cell.seed): cell for cell in grid.cells}
    students = {
        (column, method): tuple(
            _outcome(seed, places.get((column, method, seed)), runs) for seed in grid.seeds
        )
        for column in range(len(grid.columns))
        for method in grid.methods
    }
    teachers = tuple(_run(None, column.teacher_run, runs) for column in grid.columns)
    return Results(grid, teachers, students)


def _outcome(seed: int, place: Place | None, runs: Path) -> Outcome:
    if place is not None and place.run is None:
        return Outcome(seed, None, "not applicable", reason=place.reason or "no reason given")
    return _run(seed, place.run if place else None, runs)


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
