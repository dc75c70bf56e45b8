"""The schema of a record: every field of `record.json` and `failure.json`, in the order on disk.

A job builds a `Record`, `RunFolder.finish` writes it, and the report reads the same class. Fields
with a default may be missing in older files. Importing this module imports pydantic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from benchmark.store.measures import Measures, Percent, Score
from benchmark.store.preprocessing import Preprocessing

T = TypeVar("T")
Kind = Literal["train", "probe", "import"]
Amount = Annotated[float, Field(ge=0, le=1e18)]
"""Seconds, joules and the like. The bound leaves sums and pictures of any number of them finite."""


def _as_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, AfterValidator(_as_time)]
"""ISO 8601."""
Count = Annotated[int, Field(ge=0, le=10**18)]
FailureKind = Literal["non-finite", "error", "died"]
"""A loss or weight is not finite; an exception was raised; the process ended without a report."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a run's history, with the test scores after it."""

    epoch: Count
    """Counted from 1, through all phases."""
    phase: str
    lr: Score | None = None
    losses: Mapping[str, Score] = field(default_factory=dict)
    """Weighted means over the epoch, by term."""
    top1: Percent
    top5: Percent | None = None
    test_loss: Score | None = None
    """Mean cross-entropy on the test images, nats."""
    seconds: Amount | None = None
    """Evaluation included; the run's share if several were trained together. On a CPU it is the
    processor time of the process, on a GPU the time of the device. Records without `wall_seconds`
    have the wall time here."""
    wall_seconds: Amount | None = None
    """The same by the wall clock, which other load on the machine lengthens."""
    step_seconds: Amount | None = None
    """Mean time of a training step of the student, without the teacher's forward pass."""
    teacher_seconds: Amount | None = None
    """Mean time of the teacher's forward pass for one step; None where the phase has none."""
    joules: Amount | None = None
    """The run's share of the energy that its GPU drew; None without an energy counter."""


@dataclass(frozen=True, kw_only=True)
class FinalResult:
    """Test scores after the last epoch."""

    top1: Percent
    top5: Percent | None = None
    test_loss: Score | None = None
    """Mean cross-entropy, nats."""
    epoch: Count


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time, energy, memory, parameters and operations of a run."""

    seconds: Amount = 0.0
    """The sum of `Epoch.seconds` over all epochs."""
    wall_seconds: Amount | None = None
    """The sum of `Epoch.wall_seconds`; None in older records, whose `seconds` are wall time."""
    step_seconds: Amount | None = None
    """A training step of the student, without the teacher's forward pass: mean over all epochs."""
    teacher_seconds: Amount | None = None
    """The teacher's forward pass for one step: mean over the epochs that had one."""
    images_per_second: Amount | None = None
    """Training images of all epochs divided by `seconds`, evaluation included."""
    gpu_hours: Amount | None = None
    energy_joules: Amount | None = None
    """The run's share of what its GPU drew; None where no device counts it."""
    peak_memory_mb: Amount | None = None
    """Of the process, with every run that it trained together."""
    peak_gpu_memory_mb: Amount | None = None
    """Of the tensors on its GPU, with every run that it trained together."""
    halved: Count = 0
    """How often the job split its runs in halves for want of memory."""
    parameters: Count
    """Of the student."""
    connector_parameters: Count = 0
    deployed_parameters: Count | None = None
    """Of the network that the method deploys in the student's place."""
    flops: Count | None = None
    """Forward pass of the student on one image; a multiplication and an addition count as two."""
    deployed_flops: Count | None = None
    connector_flops: Count | None = None
    """Forward pass of the last phase's loss for one image, connectors included."""


@dataclass(frozen=True, kw_only=True)
class NetworkReference:
    """Another finished run that this run uses: its teacher, or the backbone of a probe."""

    id: str
    top1: Percent
    sha256: str
    """Of its weights file."""


@dataclass(frozen=True)
class WrittenFile:
    """A file beside the record: the deployed network's weights, or its predictions."""

    sha256: str = ""

    @classmethod
    def of(cls, content: bytes) -> WrittenFile:
        return cls(hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class ImportedFile:
    """The checkpoint file that a teacher was imported from."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The code, the versions and the machine that a run used."""

    commit: str | None = None
    dirty: bool | None = None
    """Whether the code differed from the commit."""
    python: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    numpy: str | None = None
    platform: str | None = None
    cpu: str | None = None
    device: str | None = None
    threads: int | None = None
    host: str | None = None
    processes: int | None = None
    """Of a training job; None of an import."""
    autocast: str | None = None
    """The data type that networks computed in where it was not float32."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished run. `as_json` says which fields each kind of run writes, and in which order."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    schema: Literal[1]
    id: str
    kind: Kind = "train"
    config: Mapping[str, Any] = field(default_factory=dict)
    """The run's configuration, as `benchmark.config.runs` parses it."""
    teacher: NetworkReference | None = None
    backbone: NetworkReference | None = None
    """The network that a probe classifies the embeddings of."""
    probe: Mapping[str, Any] | None = None
    """How a probe was chosen: its weight decay and the held-out scores of the candidates."""
    result: FinalResult
    published: Percent | None = None
    """Test top-1 that an imported teacher's authors published, percent."""
    remark: str | None = None
    """A note that every table with this number repeats."""
    history: tuple[Epoch, ...]
    weights: WrittenFile = WrittenFile()
    file: ImportedFile | None = None
    predictions: WrittenFile | None = None
    """The file of the predictions on the test images; None where there is none, and in older
    records."""
    preprocessing: Preprocessing | None = None
    """None in older records."""
    measures: Measures | None = None
    """None of a probe, of a network that could not be measured, and in older records."""
    cost: Cost
    environment: Environment = Environment()
    """Of the process that finished the run."""
    earlier_environments: tuple[Environment, ...] = ()
    """Of a run that was interrupted: those in which its earlier epochs were trained, if others."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of the source of each plug-in that the method is from, by file name."""
    started: Time | None = None
    """UTC; so is `finished`."""
    finished: Time | None = None

    def best_on_test(self) -> Epoch:
        """Return the first epoch with the highest test top-1, for papers that report it."""
        return max(self.history, key=lambda epoch: epoch.top1)

    def initialising(self) -> int:
        """Return the number of epochs before the last phase."""
        return sum(epoch.phase != self.history[-1].phase for epoch in self.history)

    def as_json(self) -> dict[str, Any]:
        """Return the content of `record.json`: the fields of this kind of run, in their order."""
        everything = asdict(self)
        if self.kind == "import":
            everything["cost"] = _select(everything["cost"], _IMPORT_COSTS)
            everything["environment"] = _without(everything["environment"], _JOB_ENVIRONMENT)
        elif self.cost.flops is None:  # a probe, or a network that could not be measured
            everything["cost"] = _without(everything["cost"], _OPERATIONS)
        keys = _KEYS[self.kind]
        return _select(everything, tuple(k for k in keys if everything[k] or k not in _IF_ANY))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why the last attempt at a run failed: the content of `failure.json`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    schema: Literal[1]
    id: str = ""
    kind: FailureKind = "error"
    message: str
    traceback: str | None = None
    epoch: int | None = None
    """Counted from 1; None where the failure belongs to no epoch."""
    phase: str | None = None
    when: str | None = None
    """UTC, ISO 8601."""


def _select(fields: Mapping[str, T], keys: tuple[str, ...]) -> dict[str, T]:
    return {key: fields[key] for key in keys}


def _without(fields: Mapping[str, T], keys: tuple[str, ...]) -> dict[str, T]:
    return {key: value for key, value in fields.items() if key not in keys}


_START = ("schema", "id", "kind")
_IF_ANY = ("earlier_environments", "plugins")
"""Fields that are written only if there is something in them."""
_END = ("cost", "environment", *_IF_ANY, "started", "finished")
_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "train": (
        *(*_START, "teacher", "config", "result", "history", "weights", "predictions"),
        *("preprocessing", "measures", *_END),
    ),
    "probe": (
        *(*_START, "backbone", "probe", "config", "result", "history", "weights"),
        *("preprocessing", "measures", *_END),
    ),
    "import": (
        *(*_START, "config", "result", "published", "remark", "history", "teacher", "weights"),
        *("file", "predictions", "preprocessing", "measures", *_END),
    ),
}
_OPERATIONS = ("flops", "deployed_flops", "connector_flops")
_IMPORT_COSTS = ("parameters", "deployed_parameters", "flops", "deployed_flops")
_JOB_ENVIRONMENT = ("processes", "autocast")
