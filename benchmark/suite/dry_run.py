"""Run a method on one batch before any training: does it work, and what does it read?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.models.network import Network
from benchmark.suite.rows import Row
from benchmark.training.build import build_method
from benchmark.training.learner import checked_phases
from methods.interface import Batch, Budget, Features, Phase, Shapes, View
from methods.registry.check import BadMethod, describe_error, find_loss_faults, source_line

BATCH_SIZE = 2


class EpochSize(NamedTuple):
    """The images of an epoch, and how many of them a batch has."""

    images: int
    batch_size: int

    @property
    def last_batch(self) -> int:
        """Images in the last batch of an epoch, which may be shorter than the others."""
        return self.images % self.batch_size or self.batch_size

    def __str__(self) -> str:
        return (
            f"the last batch of an epoch has one image ({self.images} images in batches of "
            f"{self.batch_size})"
        )


@dataclass(frozen=True)
class PhaseFacts:
    """What a dry run has shown of a phase."""

    phase: Phase
    reads: tuple[str, ...]
    """Names of the teacher's features that the loss reads."""
    terms: tuple[str, ...]
    """Names of the loss terms."""
    connectors: int
    """Number of parameters that the method trains besides the student's."""


@dataclass(frozen=True)
class NetworkPair:
    """A student and a teacher by name, with the number of classes and the size of their images."""

    student: str
    teacher: str
    classes: int
    size: int

    def output(self, name: str) -> tuple[Network, Features]:
        """Return a network of the pair, and its features of a batch of noise."""
        return network_and_features(name, self.classes, self.size)

    def shapes(self) -> tuple[Shapes, Shapes]:
        """Return the shapes of the student's features, then those of the teacher's."""
        return shapes_of(*self.output(self.student)), shapes_of(*self.output(self.teacher))


class ReadTracker:
    """Features that record the names of those that are read."""

    def __init__(self, features: Features, read: dict[str, None] | None = None) -> None:
        self._features = features
        self._read = {} if read is None else read

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        value = getattr(self._features, name)
        if name in Features._fields:
            self._read[name] = None
        return value

    def viewed(self, view: View) -> ReadTracker:
        """Return the features through a view, with the same record of reads."""
        if view != "stages":
            self._read[view] = None
        return ReadTracker(self._features.viewed(view), self._read)


def mismatch_reason(row: Row, pair: NetworkPair) -> str | None:
    """Return why a method cannot distil a pair; None if it can."""
    if not row.spec.kind.needs_teacher:
        return None
    reason: str | None = row.spec.kind.mismatch(row.parameters, *pair.shapes())
    return reason


def dry_run_method(
    row: Row, pair: NetworkPair, batch_size: int, budget: Budget, images: int | None = None
) -> list[PhaseFacts]:
    """Build a method and run each of its phases on one batch of noise.

    ``batch_size`` is the one that the method is built for, and ``images`` the number of images of
    an epoch, where it is known. Raises ``BadMethod`` if anything fails, and ``UserError`` if only a
    last batch of a single image does.
    """
    kind, shapes, (teacher, _) = row.spec.kind, pair.shapes(), pair.output(pair.teacher)
    labels = torch.arange(4 * pair.classes) % pair.classes
    try:
        method = build_method(
            kind, row.parameters, shapes, teacher, labels, batch_size=batch_size, seed=0
        )
        phases = checked_phases(method, budget)
        connectors = models.count_parameters(method)
        facts = [dry_run_phase(phase, pair, connectors) for phase in phases]
        if images is not None and EpochSize(images, batch_size).last_batch == 1:
            with explain_last_batch(row.label, kind, EpochSize(images, batch_size)):
                try_one_image(pair.student, pair.classes, pair.size)
                for phase in phases:
                    dry_run_phase(phase, pair, connectors, count=1)
    except (BadMethod, UserError):
        raise
    except Exception as error:
        raise BadMethod([f"{row.label}: {describe_error(error, kind)}"]) from error
    return facts


@contextlib.contextmanager
def explain_last_batch(label: str, kind: type, epoch: EpochSize) -> Iterator[None]:
    """Raise UserError for what fails with a single image: it would fail after a whole epoch."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{label}: {epoch}, and that cannot be trained: {describe_error(error, kind)}. Choose "
            "another batch_size, or a limit that leaves more images over"
        ) from error


@lru_cache(maxsize=64)
def try_one_image(name: str, classes: int, size: int) -> None:
    """Pass one image through a network in train mode. Raises ValueError if a batch norm refuses."""
    network = models.build(name, classes, seed=0).train()
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))


def dry_run_phase(
    phase: Phase, pair: NetworkPair, connectors: int, count: int = BATCH_SIZE
) -> PhaseFacts:
    """Run a phase's loss on ``count`` samples, at most two.

    Raises ``BadMethod`` if it returns what cannot be minimised.
    """
    student = as_leaves(pair.output(pair.student)[1], count)
    teacher = ReadTracker(first_samples(pair.output(pair.teacher)[1], count))
    labels = torch.arange(count) % pair.classes
    batch = Batch(labels, torch.arange(count), torch.tensor(0.5))
    losses = phase.loss(student, teacher, batch)  # type: ignore[arg-type]
    mistakes = find_loss_faults(phase, losses)
    mistakes += [
        f"{source_line(phase.loss)}: the loss of phase '{phase.name}': '{name}' is "
        f"{value.item()} on a batch of noise"
        for name, value in ({} if mistakes else losses).items()
        if not value.isfinite()
    ]
    if mistakes:
        raise BadMethod(mistakes)
    return PhaseFacts(phase, tuple(teacher._read), tuple(losses), connectors)


# Cached by network, not by pair: large networks take seconds, and most occur in several pairs.
@lru_cache(maxsize=64)
def network_and_features(name: str, classes: int, size: int) -> tuple[Network, Features]:
    """Build a network and return it with its features of a batch of noise.

    It runs in train mode: with batch statistics, a deep network of random weights does not explode.
    Raises ``UserError`` if the images are too small for it.
    """
    network = models.build(name, classes, seed=0).train()
    noise = torch.randn(BATCH_SIZE, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            features: Features = network(noise)
    except ValueError as error:
        raise UserError(str(error)) from error
    return network, features


def shapes_of(network: Network, features: Features) -> Shapes:
    """Return the shapes of features that are already computed; ``models.shapes`` would rerun it."""
    return Shapes.of(features)._replace(norms=len(network.norms))


def as_leaves(features: Features, count: int = BATCH_SIZE) -> Features:
    """Return copies that require gradients, so that a loss shows whether it depends on them.

    ``count``: of how many samples.
    """
    return map_features(lambda x: x[:count].detach().clone().requires_grad_(), features)


def first_samples(features: Features, count: int) -> Features:
    """Return the features of the first ``count`` samples."""
    return features if count == BATCH_SIZE else map_features(lambda x: x[:count], features)


def map_features(change: Callable[[Tensor], Tensor], features: Features) -> Features:
    """Apply a function to every tensor of features."""
    return Features._make(
        change(x) if isinstance(x, Tensor) else tuple(map(change, x)) for x in features
    )
