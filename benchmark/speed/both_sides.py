"""The two sides that are compared: the suite's cohort, and one usual loop for each method.

Both are built from the same ``Setting`` and timed step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark import models
from benchmark.config import seeds
from benchmark.config.errors import UserError
from benchmark.config.recipe import DatasetConfig, Numerics, Recipe
from benchmark.data.source import Images, Source
from benchmark.data.stream import Stream, TrainBatches
from benchmark.models import Network
from benchmark.speed.ratios import MethodPhases, PairNames, Parts, TimedPhase
from benchmark.speed.reference import GPU_WORKERS, PilImages, UsualLoop, use_usual_settings
from benchmark.suite.rows import Row
from benchmark.training.build import build_method, freeze, to_device
from benchmark.training.cohort import TEACHER, train_epoch
from benchmark.training.learner import Learner, checked_phases
from benchmark.training.meters import Clock, Spans
from benchmark.training.numerics import apply_profile
from methods.interface import Budget, Method, Phase, Shapes

WEIGHTS_SEED = 0


@dataclass(frozen=True)
class Setting:
    """What all pairs have in common, and how networks, methods and learners are built from it."""

    source: Source
    images: Images
    recipe: Recipe
    device: torch.device
    steps: int
    """Steps of one measurement: one on a CPU; on a GPU enough to keep its queue full."""

    def stream(self) -> Stream:
        """Build a stream of the images, as a run of the suite does."""
        config = DatasetConfig(
            name=self.source.name,
            version=self.source.version,
            limit=None,
            padding=self.source.padding,
            flip=self.source.flip,
        )
        return Stream(
            self.images,
            self.source,
            config,
            seed=seeds.derive("stream", WEIGHTS_SEED),
            batch_size=self.recipe.batch_size,
            device=self.device,
        )

    def short_stream(self, batches: int) -> Stream:
        """Build a stream whose epoch has ``batches`` full batches and a quarter of one."""
        size = self.recipe.batch_size
        images = self.images.first(size * batches + max(1, size // 4))
        return replace(self, images=images).stream()

    def network(self, name: str) -> Network:
        """Build a network with random weights; the time of a step does not depend on them."""
        return models.build(name, self.source.classes, WEIGHTS_SEED)

    def shapes(self, pair: PairNames) -> tuple[Shapes, Shapes]:
        """Return the feature shapes of the student and of the teacher."""
        classes, size = self.source.classes, self.source.size
        student, teacher = (
            models.feature_shapes(name, classes, 3, size) for name in (pair.student, pair.teacher)
        )
        return student, teacher

    def mismatch(self, entry: Row, pair: PairNames) -> str | None:
        """Return why a method does not apply to a pair; None if it applies."""
        return entry.spec.kind.mismatch(entry.parameters, *self.shapes(pair))

    def method(self, entry: Row, pair: PairNames) -> Method:
        """Build a method with its connectors, as a run of the suite does."""
        return build_method(
            entry.spec.kind,
            entry.parameters,
            self.shapes(pair),
            self.network(pair.teacher),
            self.images.labels,
            batch_size=self.recipe.batch_size,
            seed=seeds.derive("connectors", entry.label, WEIGHTS_SEED),
        )

    def phases(self, method: Method) -> Sequence[Phase]:
        """Return a method's phases under this recipe."""
        return checked_phases(method, Budget(self.recipe.epochs, self.recipe.init_epochs))

    def learner(
        self, entry: Row, pair: PairNames, numerics: Numerics = "strict", phase: int = -1
    ) -> Learner:
        """Build a learner as a run of the suite does, in the second epoch of one of its phases.

        It is not in the phase's first epoch, because that would create a new optimizer each time.
        """
        network, method = self.network(pair.student), self.method(entry, pair)
        to_device(network, self.device, numerics)
        to_device(method, self.device)
        learner = Learner(entry.label, network, method, self.recipe)
        start = sum(earlier.epochs for earlier in learner.phases[:phase])
        learner.epoch = start + min(1, learner.phases[phase].epochs - 1)
        return learner


def phase_key(entry: Row, phase: Phase) -> str:
    """Return the name under which both sides time a phase of a method."""
    return f"{entry.label}: {phase.name}"


def raise_failure(learners: Sequence[Learner]) -> None:
    """Raise ``UserError`` if a learner has failed; failed ones would be skipped silently."""
    for learner in learners:
        if learner.failure is not None:
            raise UserError(f"{learner.name}: {learner.failure.message}")


# ---------------------------------------------------------------- the suite


class TimedBatches:
    """Full batches of a stream, a fixed number to an epoch; loading each is timed."""

    def __init__(self, stream: Stream, steps: int, spans: Spans) -> None:
        self.stream, self.steps, self.spans = stream, steps, spans
        self.full_batches = self.endless()

    @property
    def count(self) -> int:
        return self.steps * self.stream.batch_size

    @property
    def device(self) -> torch.device:
        return self.stream.device

    def endless(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield full batches epoch after epoch, without the short batch at the end of each."""
        epoch = 0
        while True:
            for batch in self.stream.epoch(epoch):
                if len(batch[1]) == self.stream.batch_size:
                    yield batch
            epoch += 1

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the next (images, labels, indices), whatever the number of the epoch."""
        for _ in range(self.steps):
            with self.spans.of("input"):
                batch = next(self.full_batches)
            yield batch


class SuiteCohort:
    """The suite's side: each phase of each method is a learner, and all train in one cohort."""

    def __init__(
        self, setting: Setting, stream: Stream, pair: PairNames, entries: Sequence[Row]
    ) -> None:
        self.spans = Spans(Clock(setting.device))
        self.batches: TrainBatches = TimedBatches(stream, setting.steps, self.spans)
        self.teacher = freeze(setting.network(pair.teacher), setting.device)
        self.phases: dict[str, MethodPhases] = {}
        """By method."""
        self.learners: list[Learner] = []
        for entry in entries:
            learners = [setting.learner(entry, pair, phase=0)]
            phases = learners[0].phases
            learners += [setting.learner(entry, pair, phase=n) for n in range(1, len(phases))]
            for learner, phase in zip(learners, phases, strict=True):
                learner.name = phase_key(entry, phase)
            self.learners += learners
            self.phases[entry.label] = [
                TimedPhase(phase_key(entry, phase), phase.epochs, phase.reads_teacher)
                for phase in phases
            ]

    def measure(self) -> Parts:
        """Train all learners for a few steps; return the mean seconds of a step's parts."""
        return self.train(self.learners)

    def warm_up(self) -> None:
        """Train one learner, so that the libraries have chosen and loaded their kernels."""
        self.train(self.learners[:1])

    def train(self, learners: Sequence[Learner]) -> Parts:
        """Train by the suite's own loop. Raises ``UserError`` if a learner fails."""
        apply_profile("strict")
        spans = train_epoch(learners, self.teacher, self.batches, 0)
        raise_failure(learners)
        parts = spans.read()
        return {**self.spans.read(), "teacher": parts.pop(TEACHER), **parts}


# ---------------------------------------------------------------- the usual loops


class UsualLoops:
    """The other side: each method has a loop of its own."""

    def __init__(
        self, setting: Setting, pictures: PilImages, pair: PairNames, entries: Sequence[Row]
    ) -> None:
        self.setting, self.spans = setting, Spans(Clock(setting.device))
        workers = GPU_WORKERS if setting.device.type == "cuda" else 0
        self.batches = pictures.batches(setting.recipe.batch_size, setting.device, workers)
        self.teacher = setting.network(pair.teacher).to(setting.device)
        self.teacher.requires_grad_(False).eval()
        self.main: list[UsualLoop] = []
        """Each method's last phase."""
        self.initial: list[UsualLoop] = []
        """The phases before it."""
        for entry in entries:
            count = len(setting.phases(setting.method(entry, pair)))
            for number in range(count):
                method = setting.method(entry, pair).to(setting.device)
                phase = setting.phases(method)[number]
                student = setting.network(pair.student).to(setting.device)
                key = phase_key(entry, phase)
                loop = UsualLoop(key, student, method, phase, setting.recipe)
                (self.main if number == count - 1 else self.initial).append(loop)

    def measure(self) -> Parts:
        """Train a few steps of each loop; return the mean seconds of a step's parts.

        Main phases take whole steps. Initial phases reuse the last batch and teacher pass of those:
        the teacher is the same network, so its pass is not timed again.
        """
        use_usual_settings()
        for loop in self.main:
            for _ in range(self.setting.steps):
                with self.spans.of("input"):
                    batch = next(self.batches)
                features = loop.step(batch, self.teacher, self.spans)
        for loop in self.initial:
            for _ in range(self.setting.steps):
                loop.learn(batch, features, self.spans)
        return self.spans.read()

    def warm_up(self) -> None:
        """Train one loop, so that the libraries have chosen and loaded their kernels."""
        use_usual_settings()
        self.main[0].step(next(self.batches), self.teacher, self.spans)
        self.spans.read()
