"""The schema of a record: what a finished or failed run leaves in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

Percent = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a run's history: test top-1 in percent after it, and the phase it belongs to."""

    epoch: int
    phase: str
    top1: Percent
    losses: Mapping[str, float] = field(default_factory=dict)
    """Weighted means over the epoch, by term."""
    lr: float | None = None


@dataclass(frozen=True)
class Final:
    """What a run ends with: test top-1 in percent after the last epoch."""

    top1: Percent
    epoch: int
    top5: Percent | None = None


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
    peak_gpu_memory_mb: float | None = None
    """Of tensors on its GPU, likewise."""
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
    kl: float | None
    """Mean of KL(teacher || student), nats; None where only predicted classes are known."""
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
