"""One batch through a method, before anything is trained: does it work, and what does it read?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.models.network import Network
from benchmark.suite.rows import Entry
from benchmark.training.build import handed_over
from benchmark.training.learner import laid_out
from methods.interface import Batch, Budget, Features, Phase, Shapes, View
from methods.registry.check import BadMethod, blame, loss_faults, place

BATCH = 2


@dataclass(frozen=True)
class PhaseFacts:
    """What a phase did with one batch."""

    phase: Phase
    reads: tuple[str, ...]
    """Names of the teacher's features that the loss has looked at."""
    terms: tuple[str, ...]
    connectors: int
    """Parameters that the method trains beside the student's."""


@dataclass(frozen=True)
class Scene:
    """A pair of networks, and what kind of images they see."""

    student: str
    teacher: str
    classes: int
    size: int

    def output(self, name: str) -> tuple[Network, Features]:
        """Return one of the networks, and what it made of noise."""
        return networks_output(name, self.classes, self.size)

    def shapes(self) -> tuple[Shapes, Shapes]:
        """Return the shapes of the student's features, then the teacher's."""
        return shapes_of(*self.output(self.student)), shapes_of(*self.output(self.teacher))


class Watched:
    """Features that remember which of them were looked at."""

    def __init__(self, features: Features, read: dict[str, None] | None = None) -> None:
        self._features = features
        self._read = {} if read is None else read

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        value = getattr(self._features, name)
        if name in Features._fields:
            self._read[name] = None
        return value

    def viewed(self, view: View) -> Watched:
        """Look on through a view."""
        if view != "stages":
            self._read[view] = None
        return Watched(self._features.viewed(view), self._read)


def mismatch(entry: Entry, scene: Scene) -> str | None:
    """Say why a method cannot distil a pair; None where it can."""
    if not entry.spec.kind.needs_teacher:
        return None
    reason: str | None = entry.spec.kind.mismatch(entry.parameters, *scene.shapes())
    return reason


def attempt(entry: Entry, scene: Scene, batch_size: int, budget: Budget) -> list[PhaseFacts]:
    """Build a method and run each of its phases on one batch of noise. Raises ``BadMethod``."""
    kind, shapes = entry.spec.kind, scene.shapes()
    given = handed_over(
        scene.output(scene.teacher)[0],
        torch.arange(4 * scene.classes) % scene.classes,
        batch_size,
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # of the CPU alone: ten times as fast
            method = kind.build(entry.parameters, *shapes, given)
        phases = laid_out(method, budget)
        trained = models.count_parameters(method)
        return [run_phase(phase, scene, trained) for phase in phases]
    except BadMethod:
        raise
    except Exception as error:
        raise BadMethod([f"{entry.label}: {blame(error, kind)}"]) from error


def run_phase(phase: Phase, scene: Scene, connectors: int) -> PhaseFacts:
    """Run a phase's loss; say where it stands if it returns what cannot be minimised."""
    seen = with_gradient(scene.output(scene.student)[1])
    shown = Watched(scene.output(scene.teacher)[1])
    labels = torch.arange(BATCH) % scene.classes
    batch = Batch(labels, torch.arange(BATCH), torch.tensor(0.5))
    losses = phase.loss(seen, shown, batch)  # type: ignore[arg-type]
    wrong = loss_faults(phase, losses)
    wrong += [
        f"{place(phase.loss)}: the loss of phase '{phase.name}': '{name}' is {value.item()} on a "
        "batch of noise"
        for name, value in ({} if wrong else losses).items()
        if not value.isfinite()
    ]
    if wrong:
        raise BadMethod(wrong)
    return PhaseFacts(phase, tuple(shown._read), tuple(losses), connectors)


# Of a network, not of a pair: large ones take seconds, and most teach or learn in several pairs.
@lru_cache(maxsize=64)
def networks_output(name: str, classes: int, size: int) -> tuple[Network, Features]:
    """Build a network and pass noise through it; by the batch's own statistics, so that a deep
    network of random weights does not explode. Raises ``UserError`` where images are too small.
    """
    network = models.build(name, classes, seed=0).train()
    noise = torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            features: Features = network(noise)
    except ValueError as error:
        raise UserError(str(error)) from error
    return network, features


def shapes_of(network: Network, features: Features) -> Shapes:
    """Read off what ``models.shapes`` would run the network once more for."""
    return Shapes.of(features)._replace(norms=len(network.norms))


def with_gradient(features: Features) -> Features:
    """Make leaves of features, so that a loss shows whether it reaches them."""

    def leaf(x: Tensor) -> Tensor:
        return x.detach().clone().requires_grad_()

    return Features(
        leaf(features.stem),
        tuple(map(leaf, features.stages)),
        tuple(map(leaf, features.preacts)),
        leaf(features.embedding),
        leaf(features.logits),
        tuple(map(leaf, features.crd)),
    )
