"""A pair and its methods as both sides train them: the suite's own cohort, and the usual loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import models
from benchmark.config import seeds
from benchmark.config.errors import UserError
from benchmark.config.recipe import DatasetConfig, Recipe
from benchmark.data.source import Images, Source
from benchmark.data.stream import Batches, Stream
from benchmark.models import Network
from benchmark.speed.ratios import Parts, Plan, Stretch
from benchmark.speed.reference import GPU_WORKERS, Loop, Pictures, be_usual
from benchmark.suite.rows import Entry
from benchmark.training.build import frozen, handed_over, place
from benchmark.training.cohort import TEACHER, train_epoch
from benchmark.training.learner import Learner, laid_out
from benchmark.training.meters import Clock, Spans
from benchmark.training.numerics import adopt
from methods.interface import Budget, Method, Phase

SEED = 0


@dataclass(frozen=True)
class Scene:
    """What all pairs have in common."""

    source: Source
    images: Images
    recipe: Recipe
    device: torch.device
    steps: int
    """Of one measurement: one on a CPU; on a GPU as many as keep its queue full."""

    def stream(self) -> Stream:
        """Lay the images out as a run of the suite does."""
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
            seed=seeds.derive("stream", SEED),
            batch_size=self.recipe.batch_size,
            device=self.device,
        )

    def network(self, name: str) -> Network:
        """Build a network of random weights, which time does not depend on."""
        return models.build(name, self.source.classes, SEED)

    def method(self, entry: Entry, student: str, teacher: str) -> Method:
        """Build a method with its connectors, as a run of the suite does."""
        classes, size = self.source.classes, self.source.size
        shapes = [models.shapes(name, classes, 3, size) for name in (student, teacher)]
        given = handed_over(self.network(teacher), self.images.labels, self.recipe.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.derive("connectors", entry.label, SEED))
            return entry.spec.kind.build(entry.parameters, shapes[0], shapes[1], given)

    def mismatch(self, entry: Entry, teacher: str, student: str) -> str | None:
        """Why a method cannot be applied to a pair; None where it can."""
        classes, size = self.source.classes, self.source.size
        shapes = [models.shapes(name, classes, 3, size) for name in (student, teacher)]
        return entry.spec.kind.mismatch(entry.parameters, shapes[0], shapes[1])

    def plan(self, label: str, phases: Sequence[Phase]) -> Plan:
        """Name a method's phases."""
        return [Stretch(f"{label}: {p.name}", p.epochs, p.reads_teacher) for p in phases]


# ---------------------------------------------------------------- the suite's own loop, watched


class NextBatches:
    """A stream's next few batches as if they were an epoch, and how long they took."""

    def __init__(self, stream: Stream, steps: int, spans: Spans) -> None:
        self.stream, self.steps, self.spans = stream, steps, spans
        self.running = self.endless()

    @property
    def count(self) -> int:
        """Samples in them."""
        return self.steps * self.stream.batch_size

    @property
    def device(self) -> torch.device:
        """Where they come to lie."""
        return self.stream.device

    def endless(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Go on from epoch to epoch, past the short batches at their ends."""
        epoch = 0
        while True:
            for batch in self.stream.epoch(epoch):
                if len(batch[1]) == self.stream.batch_size:
                    yield batch
            epoch += 1

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, labels, indices)."""
        for _ in range(self.steps):
            with self.spans.of("input"):
                batch = next(self.running)
            yield batch


class Cohort:
    """The suite's side: every phase of every method is one learner, and all train together."""

    def __init__(
        self, scene: Scene, stream: Stream, teacher: str, student: str, entries: Sequence[Entry]
    ) -> None:
        self.spans = Spans(Clock(scene.device))
        self.batches: Batches = NextBatches(stream, scene.steps, self.spans)
        self.teacher = frozen(scene.network(teacher), scene.device)
        self.plans: list[Plan] = []
        self.learners: list[Learner] = []
        for entry in entries:
            first = self.learner(scene, entry, student, teacher)
            self.plans.append(scene.plan(entry.label, first.phases))
            others = [self.learner(scene, entry, student, teacher) for _ in first.phases[1:]]
            start = 0
            for learner, stretch in zip([first, *others], self.plans[-1], strict=True):
                learner.name = stretch.key
                # Not at a phase's first epoch, which begins with an optimizer of its own.
                learner.epoch = start + min(1, stretch.epochs - 1)
                start += stretch.epochs
                self.learners.append(learner)

    def learner(self, scene: Scene, entry: Entry, student: str, teacher: str) -> Learner:
        """Build a learner, placed as the suite places it."""
        network, method = scene.network(student), scene.method(entry, student, teacher)
        place(network, scene.device)
        place(method, scene.device)
        return Learner(entry.label, network, method, scene.recipe)

    def measure(self) -> Parts:
        """Train a few steps; return the mean seconds of a step's parts."""
        return self.train(self.learners)

    def warm_up(self) -> None:
        """Let what is done once be done: the first learner's step and a teacher pass."""
        self.train(self.learners[:1])

    def train(self, learners: Sequence[Learner]) -> Parts:
        """Train some of them, by the suite's own loop."""
        adopt("strict")
        steps = train_epoch(learners, self.teacher, self.batches, 0)
        for learner in learners:
            if learner.failure is not None:
                raise UserError(f"{learner.name}: {learner.failure.message}")
        found = steps.read()
        return {**self.spans.read(), "teacher": found.pop(TEACHER), **found}


# ---------------------------------------------------------------- the usual loops


class Loops:
    """The other side: every method has a loop of its own."""

    def __init__(
        self, scene: Scene, pictures: Pictures, teacher: str, student: str, entries: Sequence[Entry]
    ) -> None:
        self.scene, self.spans = scene, Spans(Clock(scene.device))
        workers = GPU_WORKERS if scene.device.type == "cuda" else 0
        self.batches = pictures.batches(scene.recipe.batch_size, scene.device, workers)
        self.teacher = scene.network(teacher).to(scene.device).requires_grad_(False).eval()
        budget = Budget(scene.recipe.epochs, scene.recipe.init_epochs)
        self.main: list[Loop] = []
        self.init: list[Loop] = []
        for entry in entries:
            for number in range(len(laid_out(scene.method(entry, student, teacher), budget))):
                method = scene.method(entry, student, teacher).to(scene.device)
                phases = laid_out(method, budget)
                network = scene.network(student).to(scene.device)
                key = scene.plan(entry.label, phases)[number].key
                loop = Loop(key, network, method, phases[number], scene.recipe)
                (self.main if number == len(phases) - 1 else self.init).append(loop)

    def measure(self) -> Parts:
        """Train a few steps of each loop; return the mean seconds of a step's parts.

        Main phases take whole steps. Initialising ones take theirs after the last teacher pass of
        those, which is the same network on images of the same size.
        """
        be_usual()
        for loop in self.main:
            for _ in range(self.scene.steps):
                with self.spans.of("input"):
                    batch = next(self.batches)
                shown = loop.step(batch, self.teacher, self.spans)
        for loop in self.init:
            for _ in range(self.scene.steps):
                loop.learn(batch, shown, self.spans)
        return self.spans.read()

    def warm_up(self) -> None:
        """Let what is done once be done: one loop shows all kernels."""
        be_usual()
        self.main[0].step(next(self.batches), self.teacher, self.spans)
        self.spans.read()
