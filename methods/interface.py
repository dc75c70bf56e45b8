"""The interface of a distillation method. Read this file first.

The train loop gives a method ``Features`` of student and teacher for every batch. The method turns
them into losses. It divides the training into ``Phase``s, each with one loss function. The loop is
``benchmark/training/cohort.py``; it knows nothing else about methods. ``methods/kd.py`` is a short
example, ``docs/adding-a-method.md`` a guide. This package imports only torch and itself.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from torch import Tensor, nn

# ---------------------------------------------------------------- what a loss reads

View = Literal["stages", "crd"]
"""Which feature maps a loss reads as ``stem``, ``stages`` and ``preacts``.

``stages``: this suite's. ``crd``: those of the CRD benchmark's networks. Its stages of wide ResNets
are taken before batch norm and activation. Its preacts of ShuffleV2 are the last unit's two halves
in their order before the shuffle, the first of them after its activation.
"""


class Features(NamedTuple):
    """The outputs of one forward pass. B is the batch size, K the number of classes."""

    stem: Tensor
    """(B, C, H, W): the input of the first stage, after its activation."""
    stages: tuple[Tensor, ...]
    """(B, C_i, H_i, W_i) each: the output of stage i, after its activation."""
    preacts: tuple[Tensor, ...]
    """The inputs of these activations, in the same shapes as ``stages``."""
    embedding: Tensor
    """(B, D): the pooled features that the classifier reads."""
    logits: Tensor
    """(B, K)."""
    crd: tuple[Tensor, ...] = ()
    """The maps of the view ``crd`` where they differ: the stem's, then one for each stage, in the
    same shapes. Empty where they are equal."""
    crd_preacts: tuple[Tensor, ...] = ()
    """The preacts of the view ``crd`` where they differ, in the same shapes; else empty."""

    def viewed(self, view: View) -> Features:
        """Return these features with the view's maps as ``stem``, ``stages`` and ``preacts``."""
        viewed = self
        if view == "crd" and self.crd:
            viewed = viewed._replace(stem=self.crd[0], stages=self.crd[1:])
        if view == "crd" and self.crd_preacts:
            viewed = viewed._replace(preacts=self.crd_preacts)
        return viewed


class Batch(NamedTuple):
    """What a loss may read besides the features."""

    labels: Tensor
    """(B,) int64."""
    indices: Tensor
    """(B,) int64: the samples' positions in the train set (for memory banks)."""
    progress: Tensor
    """Scalar in [0, 1): the fraction of the phase that is done (for warm-up and annealing)."""


Losses = dict[str, Tensor]
"""Weighted scalars by name. The loop minimises their sum; the record lists them by name."""


# ---------------------------------------------------------------- how training is divided


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own loss, optimizer and learning-rate schedule."""

    name: str
    epochs: int
    loss: Callable[[Features, Features, Batch], Losses]
    """(student, teacher, batch) -> losses. The teacher's features have no gradient.

    Name the cross-entropy with the labels ``ce``: a composition of methods counts it once.
    """
    reads_teacher: bool = True
    """False: the teacher is not run, and reading its features is an error."""
    reads_student: bool = True
    """False: the student is not run and its batch norms do not change; connectors train alone."""
    lr: Literal["scheduled", "constant"] | float = "scheduled"
    """The recipe's decays scaled to this phase, or its base learning rate throughout. A number is
    the phase's own rate, also throughout."""
    trains: bool = True
    """False: weights are not updated. Batch norms gather statistics and losses are recorded."""
    keeps_head: bool = False
    """True: what the student computes after its last stage stays as it is. These modules are in
    eval mode and their weights are not updated. On wide ResNets they include the batch norm that
    returns the last preact."""


@dataclass(frozen=True)
class Budget:
    """The number of epochs of a run, and how a method with a first phase divides it."""

    epochs: int
    init_epochs: Literal["inside", "extra"]
    """Whether an initialising phase takes its epochs from ``epochs`` or adds to them."""

    def split(self, share: float) -> tuple[int, int]:
        """Return the epochs of (initialising phase, main phase); the first gets ``share`` of all.

        Both get at least one epoch, so that a shortened trial run still has all phases. A budget of
        one epoch therefore becomes two.
        """
        init = max(1, round(share * self.epochs))
        if self.init_epochs == "extra":
            return init, self.epochs
        return init, max(1, self.epochs - init)


# ---------------------------------------------------------------- a method's parameters

LATER = MappingProxyType({"later": True})
"""Metadata of a field that a ``Config`` gained when it already had runs.

At its default the field is left out of a run's id, so the default must give the older numbers.
"""


def recorded_parameters(config: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of a ``Config`` by name, without the later fields at their defaults."""
    values = ((one, getattr(config, one.name)) for one in fields(config))
    return {
        one.name: recorded_parameters(value) if is_dataclass(value) else value
        for one, value in values
        if not (one.metadata.get("later") and value == one.default)
    }


# ---------------------------------------------------------------- what a method is built from


class Shapes(NamedTuple):
    """The shapes of a network's ``Features``, without the batch dimension."""

    stem: tuple[int, int, int]
    stages: tuple[tuple[int, int, int], ...]
    embedding: int
    classes: int
    norms: int | None = None
    """The number of preacts whose batch norm is known; None if not determined."""

    @classmethod
    def of(cls, features: Features) -> Shapes:
        """Read the shapes from the features of one forward pass; ``norms`` is None."""

        def map_shape(x: Tensor) -> tuple[int, int, int]:
            _, channels, height, width = x.shape
            return channels, height, width

        return cls(
            stem=map_shape(features.stem),
            stages=tuple(map_shape(stage) for stage in features.stages),
            embedding=features.embedding.shape[1],
            classes=features.logits.shape[1],
        )


class Given(NamedTuple):
    """Further inputs of a method's ``__init__``: it gets those that it has a parameter for."""

    teacher_classifier: nn.Linear
    """The teacher's own module. A method that stores it must store a frozen copy."""
    teacher_norms: tuple[nn.BatchNorm2d, ...]
    """The last batch norm before each of the teacher's ``preacts``. In a residual block it is the
    one before the sum."""
    train_labels: Tensor
    """(N,) int64: the label of every train sample, in the order of ``Batch.indices``."""
    batch_size: int
    """The size of every batch but an epoch's last, which may be smaller."""


class Paper(NamedTuple):
    """Where a method was published."""

    authors: str
    title: str
    venue: str
    year: int

    def __str__(self) -> str:
        return f"{self.authors}, {self.title}, {self.venue} {self.year}"


class Method(nn.Module, ABC):
    """A distillation method. As a Module, it has its connectors moved, trained and checkpointed.

    A subclass defines ``name``, ``version``, ``paper``, ``phases`` and a frozen dataclass
    ``Config`` whose defaults are the paper's values. ``Config.__post_init__`` raises ValueError
    for an invalid value.
    """

    name: ClassVar[str]
    version: ClassVar[int | tuple[int, ...]]
    """Increase it when the method's numbers change: its runs get new ids."""
    paper: ClassVar[Paper | None]
    """None where there is no paper."""
    needs_teacher: ClassVar[bool] = True
    Config: ClassVar[type[Any]]
    presets: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Other well-known Configs by name. A suite selects one by ``NAME@preset``."""

    def __init__(self, config: Any, student: Shapes, teacher: Shapes) -> None:  # noqa: ANN401
        super().__init__()
        self.config = config

    @classmethod
    def build(cls, config: Any, student: Shapes, teacher: Shapes, given: Given) -> Self:  # noqa: ANN401
        """Construct the method. Its ``__init__`` gets the fields of ``given`` that it names."""
        asked = inspect.signature(cls.__init__).parameters.keys() & set(Given._fields)
        return cls(config, student, teacher, **{name: getattr(given, name) for name in asked})

    @classmethod
    def mismatch(cls, config: Any, student: Shapes, teacher: Shapes) -> str | None:  # noqa: ANN401
        """Return why the method does not apply to this pair, or None if it does."""
        return None

    @abstractmethod
    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Return the phases in the order in which they are trained."""

    def deployed(self, student: nn.Module) -> nn.Module:
        """Return the network that is evaluated and saved; usually the student itself."""
        return student
