"""Whole steps in an epoch, as runs train on a GPU: the usual loop, the suite's own, its graphs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmark.config.errors import UserError
from benchmark.config.recipe import Numerics
from benchmark.data.stream import Stream, Tests
from benchmark.evaluation.accuracy import read
from benchmark.speed.both_sides import Loops, Scene
from benchmark.speed.reference import GPU_WORKERS, be_usual
from benchmark.suite.rows import Entry
from benchmark.training.build import frozen_teacher, place
from benchmark.training.cohort import Loop as Trainer
from benchmark.training.cohort import train_epoch
from benchmark.training.cuda_graphs import WARM_UP, Capture, Graphed
from benchmark.training.learner import Learner
from benchmark.training.meters import Spans
from benchmark.training.numerics import PROFILES, adopt

BATCHES = 40
"""Full ones of the short epochs that are timed; a quarter of one follows, as an epoch ends."""
ROUNDS = 3
DISCARDED = WARM_UP + 1
"""Epochs until the short batch, which comes once in each, has been captured too."""
PREFETCHED = 2 * GPU_WORKERS
"""Batches that the usual loop's DataLoader has ready when it has been idle."""
SYNCHRONISED = "called a synchronizing CUDA operation"
FIELD = "kd"
"""Whose run stands for a single one, where it is among the methods."""

Make = Callable[[Stream, Callable[[str], None]], Trainer]
"""Makes a loop for a stream; hears why there are no graphs."""


def graphs(stream: Stream, say: Callable[[str], None]) -> Trainer:
    """Capture steps, as runs on a GPU do."""
    return Graphed(stream, Capture(stream.device), say)


LOOPS: Mapping[str, Make] = {"eager": lambda _, say: train_epoch, "graphs": graphs}


class Key(NamedTuple):
    """What is timed."""

    loop: str
    """``usual``, ``eager`` or ``graphs``."""
    numerics: str
    """A profile; of the usual loop, ``usual``."""
    methods: int
    """One, or all of them: together, and of the usual loop one after the other."""


class Timed(NamedTuple):
    """What was found."""

    seconds: Sequence[float]
    """A step of a full batch, by the wall's clock; each round's."""
    waits: int | None
    """How often torch saw the host wait for the device in an epoch; None: not counted."""
    refused: str = ""
    """Why there were no graphs where there should have been."""

    @property
    def median(self) -> float:
        """Seconds a step."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Epochs:
    """A pair's."""

    alone: str
    """The method of the single run."""
    methods: int
    timed: Mapping[Key, Timed]

    def faster(self, key: Key) -> float:
        """Return the median of the rounds' ratios: usual loops / this."""
        usual = self.timed[Key("usual", "usual", key.methods)]
        return float(np.median(np.divide(usual.seconds, self.timed[key].seconds)))

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        found = (
            {**key._asdict(), **times._asdict(), "faster": self.faster(key)}
            for key, times in self.timed.items()
        )
        return {"alone": self.alone, "methods": self.methods, "timed": list(found)}


# ---------------------------------------------------------------- what is timed


class Suite:
    """Methods that the suite trains together by one of its loops, in one profile."""

    def __init__(
        self,
        scene: Scene,
        stream: Stream,
        pair: tuple[str, str],
        entries: Sequence[Entry],
        numerics: Numerics,
        make: Make,
    ) -> None:
        adopt(numerics)
        self.numerics, self.stream, self.epoch = numerics, stream, 0
        self.said: list[str] = []
        self.loop = make(stream, self.said.append)
        network = scene.network(pair[0])
        self.teacher = frozen_teacher(network, scene.source.size, scene.device, numerics)
        self.learners = [learner(scene, pair, entry, numerics) for entry in entries]

    def __call__(self) -> None:
        """Train for the next epoch of the stream."""
        self.loop(self.learners, self.teacher, self.stream, self.epoch)
        self.epoch += 1
        for one in self.learners:
            if one.failure is not None:
                raise UserError(f"{one.name}: {one.failure.message}")

    def warm_up(self, epochs: int) -> None:
        """Go on until everything is captured."""
        adopt(self.numerics)
        for _ in range(epochs):
            self()

    def time(self) -> float:
        """Return an epoch's seconds for each full batch's worth of images."""
        adopt(self.numerics)
        took = seconds_of(self.stream.device, self)
        return took * self.stream.batch_size / self.stream.count

    def evaluation(self, test: Tests) -> float:
        """Return the seconds of measuring everybody, as after an epoch."""
        adopt(self.numerics)

        def work() -> None:
            read([learner.measure(test) for learner in self.learners])

        return seconds_of(self.stream.device, work)

    def found(self, seconds: Sequence[float]) -> Timed:
        """Add what is not timed."""
        adopt(self.numerics)
        return Timed(seconds, waits(self.stream.device, self), "; ".join(self.said))


def learner(scene: Scene, pair: tuple[str, str], entry: Entry, numerics: Numerics) -> Learner:
    """Build a learner as a run does, in the midst of its last phase."""
    teacher, student = pair
    network, method = scene.network(student), scene.method(entry, student, teacher)
    place(network, scene.device, numerics)
    place(method, scene.device)
    built = Learner(entry.label, network, method, scene.recipe)
    # Not at the phase's first epoch, which begins with an optimizer of its own: it stays there.
    last = built.phases[-1].epochs
    built.epoch = built.epochs - last + min(1, last - 1)
    return built


class Usual:
    """The loops of the other side, one after the other."""

    def __init__(self, loops: Loops, steps: int) -> None:
        self.loops, self.steps, self.spans = loops, steps, Unwatched(loops.spans.clock)

    def train(self, number: int, steps: int) -> None:
        """Train the method of that number."""
        for _ in range(steps):
            self.loops.main[number].step(next(self.loops.batches), self.loops.teacher, self.spans)

    def warm_up(self) -> None:
        """Let each method have chosen its kernels."""
        be_usual()
        for number in range(len(self.loops.main)):
            self.train(number, 1)

    def time(self) -> list[float]:
        """Return the seconds of a step of each method."""
        be_usual()
        device = self.loops.scene.device
        if device.type == "cuda":
            self.train(0, PREFETCHED)
        work = [partial(self.train, n, self.steps) for n in range(len(self.loops.main))]
        return [seconds_of(device, one) / self.steps for one in work]

    def waits(self, numbers: Sequence[int]) -> int | None:
        """Count over an epoch of these methods."""
        be_usual()

        def work() -> None:
            for number in numbers:
                self.train(number, self.steps)

        return waits(self.loops.scene.device, work)


class Unwatched(Spans):
    """Times nothing: events within a step would cost the usual loop time."""

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Let it happen."""
        yield


# ---------------------------------------------------------------- a pair's measurement


def short(scene: Scene, batches: int) -> Stream:
    """Lay out so few images that an epoch is that many full batches and a short one."""
    size = scene.recipe.batch_size
    return replace(scene, images=scene.images.first(size * batches + max(1, size // 4))).stream()


def measure(
    scene: Scene,
    loops: Loops,
    pair: tuple[str, str],
    entries: Sequence[Entry],
    made: Mapping[str, Make] = LOOPS,
    rounds: int = ROUNDS,
    discarded: int = DISCARDED,
    batches: int = BATCHES,
) -> Epochs:
    """Time epochs of a few batches by every loop, in every profile, alone and together, in turns.

    ``loops``: the usual ones of the same entries. Raises ``UserError``.
    """
    stream = short(scene, batches)
    labels = [entry.label for entry in entries]
    alone = labels.index(FIELD) if FIELD in labels else 0
    groups = {1: [entries[alone]], len(entries): entries}
    sides = {
        Key(name, numerics, count): Suite(scene, stream, pair, chosen, numerics, make)
        for numerics in PROFILES
        for name, make in made.items()
        for count, chosen in groups.items()
    }
    usual = Usual(loops, batches)
    usual.warm_up()
    for side in sides.values():
        side.warm_up(discarded)
    found = [one_round(usual, sides, number) for number in range(rounds)]
    own = {1: [alone], len(entries): range(len(entries))}
    timed = {
        Key("usual", "usual", count): Timed(
            [sum(each[n] for n in numbers) for each, _ in found], usual.waits(numbers)
        )
        for count, numbers in own.items()
    }
    for key, side in sides.items():
        timed[key] = side.found([others[key] for _, others in found])
    return Epochs(labels[alone], len(entries), timed)


def one_round(
    usual: Usual, sides: Mapping[Key, Suite], number: int
) -> tuple[list[float], dict[Key, float]]:
    """Time both sides, by turns the one or the other first."""
    if number % 2:
        suite = {key: sides[key].time() for key in reversed([*sides])}
        return usual.time(), suite
    return usual.time(), {key: side.time() for key, side in sides.items()}


def settle(device: torch.device) -> None:
    """Wait until the device has done all."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(device: torch.device, work: Callable[[], object]) -> float:
    """Return how long something takes until the device has done it."""
    settle(device)
    start = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - start


def waits(device: torch.device, work: Callable[[], object]) -> int | None:
    """Do something, and count how often the host waits in it, as far as torch notices."""
    if device.type != "cuda":
        return None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum(SYNCHRONISED in str(warning.message) for warning in seen)
