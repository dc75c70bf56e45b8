"""What a distillation method is. Read this file first.

A method lays out *phases*; each phase is a stretch of training with one loss over what the student
and the teacher show of themselves (``Features``). The train loop, which is in
``benchmark/training/cohort.py``, knows nothing else of a method. This package imports torch and
itself, nothing more.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from torch import Tensor, nn

View = Literal["stages", "crd"]
"""Whose maps a loss reads: this suite's, or those that the CRD benchmark's code hands over."""


class Features(NamedTuple):
    """What one forward pass shows. B is the batch size, K the number of classes."""

    stem: Tensor
    """(B, C, H, W), after its activation: what enters the first stage."""
    stages: tuple[Tensor, ...]
    """(B, C_i, H_i, W_i) each: what a stage returns, after its activation."""
    preacts: tuple[Tensor, ...]
    """The tensor that enters that activation, same shapes as ``stages``."""
    embedding: Tensor
    """(B, D), pooled; what the classifier reads."""
    logits: Tensor
    """(B, K)."""
    crd: tuple[Tensor, ...] = ()
    """The CRD benchmark's maps where they are others: one for ``stem``, then one for each of
    ``stages``, in the same shapes; else empty."""

    def viewed(self, view: View) -> Features:
        """Return the same features with that view's maps for ``stem`` and ``stages``."""
        if view == "stages" or not self.crd:
            return self
        return self._replace(stem=self.crd[0], stages=self.crd[1:])


class Shapes(NamedTuple):
    """The shapes behind a network's ``Features``, without the batch dimension."""

    stem: tuple[int, int, int]
    stages: tuple[tuple[int, int, int], ...]
    embedding: int
    classes: int
    norms: int | None = None
    """For how many of its preacts the network knows a batch norm; None: nobody has asked."""

    @classmethod
    def of(cls, features: Features) -> Shapes:
        """Read the shapes off one forward pass."""

        def map_shape(x: Tensor) -> tuple[int, int, int]:
            _, channels, height, width = x.shape
            return channels, height, width

        return cls(
            stem=map_shape(features.stem),
            stages=tuple(map_shape(stage) for stage in features.stages),
            embedding=features.embedding.shape[1],
            classes=features.logits.shape[1],
        )


class Batch(NamedTuple):
    """What a loss may know besides the features."""

    labels: Tensor
    """(B,) int64."""
    indices: Tensor
    """(B,) int64, positions of the samples in the train set (for memory banks)."""
    progress: Tensor
    """Scalar in [0, 1): how much of the phase is over (for warm-up and annealing)."""


Losses = dict[str, Tensor]
"""Named scalars, already weighted. The loop minimises their sum, the record keeps the names."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss, one fresh optimizer and one learning-rate plan."""

    name: str
    epochs: int
    loss: Callable[[Features, Features, Batch], Losses]
    """(student, teacher, batch) -> losses; the teacher's features carry no gradient.

    The task loss, if there is one, is the term named ``ce``: a composition counts it once.
    """
    reads_teacher: bool = True
    """False: the teacher is not run for this phase, and reading its features is an error."""
    reads_student: bool = True
    """False: the student rests, its batch norms too, while connectors are trained alone."""
    lr: Literal["scheduled", "constant"] = "scheduled"
    """The recipe's decays laid over this phase, or its base learning rate throughout."""
    trains: bool = True
    """False: no weight moves; batch norms gather their statistics and the losses are recorded."""


@dataclass(frozen=True)
class Budget:
    """How many epochs a run has, and whether initialising epochs come out of them or on top."""

    epochs: int
    init_epochs: Literal["inside", "extra"]

    def split(self, share: float) -> tuple[int, int]:
        """Epochs of (initialising phase, main phase) when the first gets ``share`` of the budget.

        A phase is never shorter than one epoch: else a run cut down for a trial would lose what
        makes the method what it is. A one-epoch budget is therefore two epochs long.
        """
        init = max(1, round(share * self.epochs))
        if self.init_epochs == "extra":
            return init, self.epochs
        return init, max(1, self.epochs - init)


class Paper(NamedTuple):
    """Where a method was published."""

    authors: str
    title: str
    venue: str
    year: int

    def __str__(self) -> str:
        return f"{self.authors}, {self.title}, {self.venue} {self.year}"


class Given(NamedTuple):
    """What a method can ask for at its construction, by a keyword of ``__init__`` of that name."""

    teacher_classifier: nn.Linear
    """The teacher's own: a method that keeps it, keeps a frozen copy."""
    teacher_norms: tuple[nn.BatchNorm2d, ...]
    """The batch norm behind each of the teacher's ``preacts`` (in a residual block, its last)."""
    train_labels: Tensor
    """(N,) int64, the label of every train sample, in the order of ``Batch.indices``."""
    batch_size: int
    """Of all batches but an epoch's last, which may be shorter."""


class Method(nn.Module, ABC):
    """One paper. A Module, so that its connectors move, train and checkpoint with it.

    A subclass states ``name``, ``version``, a frozen dataclass ``Config`` with the paper's values
    as defaults, and ``phases``. Its ``__post_init__`` may raise ``ValueError`` on a value that
    cannot be.
    """

    name: ClassVar[str]
    version: ClassVar[int | tuple[int, ...]]
    """Bump when the method's numbers change: its runs get new ids."""
    paper: ClassVar[Paper | None]
    """None where the method is nobody's invention."""
    needs_teacher: ClassVar[bool] = True
    Config: ClassVar[type[Any]]
    presets: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Other well-known settings by name: a suite may say ``NAME@preset``."""

    def __init__(self, config: Any, student: Shapes, teacher: Shapes) -> None:  # noqa: ANN401
        super().__init__()
        self.config = config

    @classmethod
    def build(cls, config: Any, student: Shapes, teacher: Shapes, given: Given) -> Self:  # noqa: ANN401
        """Construct the method, handing over what its ``__init__`` asks for by name."""
        asked = inspect.signature(cls.__init__).parameters.keys() & set(Given._fields)
        return cls(config, student, teacher, **{name: getattr(given, name) for name in asked})

    @classmethod
    def mismatch(cls, config: Any, student: Shapes, teacher: Shapes) -> str | None:  # noqa: ANN401
        """Why this pair cannot be distilled by this method; None where it can."""
        return None

    @abstractmethod
    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Lay out the training."""

    def deployed(self, student: nn.Module) -> nn.Module:
        """Return what is evaluated and saved: the student, unless the method says otherwise."""
        return student
