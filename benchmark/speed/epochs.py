"""Whole epochs, as runs on a GPU train them: usual loops, the suite's eager loop, CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmark.config.recipe import Numerics
from benchmark.data.stream import Stream, TestBatches
from benchmark.evaluation.accuracy import to_lists
from benchmark.speed.both_sides import Setting, UsualLoops, raise_failure
from benchmark.speed.ratios import PairNames
from benchmark.speed.reference import GPU_WORKERS, use_usual_settings
from benchmark.speed.timing import measure_in_turns
from benchmark.suite.rows import Row
from benchmark.training.build import prepare_teacher
from benchmark.training.cohort import EpochLoop as Trainer
from benchmark.training.cohort import train_epoch
from benchmark.training.cuda_graphs import WARM_UP_STEPS, CudaGraphRecorder, GraphedLoop
from benchmark.training.meters import Spans, time_work
from benchmark.training.numerics import PROFILES, apply_profile

EPOCH_BATCHES = 40
"""Full batches of a timed epoch; a quarter of a batch follows, since real epochs end with one."""
EPOCH_ROUNDS = 3
DISCARDED = WARM_UP_STEPS + 1
"""Untimed epochs: the short batch, which comes once an epoch, is captured in the last of them."""
PREFETCHED = 2 * GPU_WORKERS
"""Batches that the usual loop's DataLoader has ready after it has been idle."""
SYNCHRONISED = "called a synchronizing CUDA operation"
"""What torch warns of when the host waits for the device."""
SINGLE_METHOD = "kd"
"""The method that is timed alone, if it is among the methods; else the first is."""

MakeLoop = Callable[[Stream, Callable[[str], None]], Trainer]
"""Makes a train loop for a stream; calls its second argument with the reason if it cannot capture
CUDA graphs."""


def graphs(stream: Stream, say: Callable[[str], None]) -> Trainer:
    """Make the loop that runs on a GPU use: it captures a step as a CUDA graph and replays it."""
    return GraphedLoop(stream, CudaGraphRecorder(stream.device), say)


LOOPS: dict[str, MakeLoop] = {"eager": lambda _, say: train_epoch, "graphs": graphs}


@dataclass(frozen=True)
class EpochTimes:
    """The times of one loop in one numerics profile."""

    loop: str
    """``usual``, ``eager`` or ``graphs``."""
    numerics: str
    """A profile; ``usual`` for the usual loop."""
    methods: int
    """One, or all: the suite trains them together, the usual loops one after the other."""
    seconds: Sequence[float]
    """Seconds per full batch, one number a round."""
    waits: int | None = None
    """How often torch saw the host wait for the device in an epoch; None: not counted."""
    refused: str = ""
    """Why there were no CUDA graphs although the loop should have used them."""

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class PairEpochs:
    """All times of a pair."""

    alone: str
    """The method that was timed alone."""
    methods: int
    """How many methods there are in all."""
    timed: Sequence[EpochTimes]

    def find(self, loop: str, numerics: str, methods: int) -> EpochTimes:
        """Return the times of one loop. Raises ``StopIteration`` if there are none."""
        key = (loop, numerics, methods)
        return next(x for x in self.timed if (x.loop, x.numerics, x.methods) == key)

    def speedup(self, times: EpochTimes) -> float:
        """Return the median over the rounds of: seconds of the usual loops / these seconds."""
        usual = self.find("usual", "usual", times.methods)
        return float(np.median(np.divide(usual.seconds, times.seconds)))


# ---------------------------------------------------------------- what is timed


class SuiteSide:
    """Methods that the suite trains in one cohort, by one of its loops in one numerics profile."""

    def __init__(
        self,
        setting: Setting,
        stream: Stream,
        pair: PairNames,
        entries: Sequence[Row],
        numerics: Numerics,
        make: MakeLoop,
    ) -> None:
        apply_profile(numerics)
        self.numerics, self.stream, self.epoch = numerics, stream, 0
        self.refusals: list[str] = []
        self.loop = make(stream, self.refusals.append)
        teacher, size = setting.network(pair.teacher), setting.source.size
        self.teacher = prepare_teacher(teacher, size, setting.device, numerics)
        self.learners = [setting.learner(entry, pair, numerics) for entry in entries]

    def train_epoch(self) -> None:
        """Train on the stream's next epoch. Raises ``UserError`` if a learner fails."""
        self.loop(self.learners, self.teacher, self.stream, self.epoch)
        self.epoch += 1
        raise_failure(self.learners)

    def warm_up(self, epochs: int) -> None:
        """Train without timing, until all batch sizes are captured."""
        apply_profile(self.numerics)
        for _ in range(epochs):
            self.train_epoch()

    def time(self) -> float:
        """Train an epoch; return its seconds per full batch of images."""
        apply_profile(self.numerics)
        seconds = float(time_work(self.stream.device, self.train_epoch)[1])
        return seconds * self.stream.batch_size / self.stream.count

    def time_evaluation(self, test: TestBatches) -> float:
        """Return the seconds of evaluating every learner on all test images."""
        apply_profile(self.numerics)

        def evaluate() -> None:
            to_lists([learner.measure(test) for learner in self.learners])

        return float(time_work(self.stream.device, evaluate)[1])

    def count_waits(self) -> int | None:
        """Train an epoch; return how often the host waited in it."""
        apply_profile(self.numerics)
        return count_waits(self.stream.device, self.train_epoch)

    @property
    def refused(self) -> str:
        """Why steps were not captured; empty if they were."""
        return "; ".join(self.refusals)


class UsualSide:
    """The usual loops, one after the other, without timers inside their steps."""

    def __init__(self, loops: UsualLoops, steps: int) -> None:
        self.loops, self.steps, self.spans = loops, steps, NoSpans(loops.spans.clock)
        self.device = loops.setting.device

    def train(self, numbers: Sequence[int], steps: int) -> None:
        """Train some of the loops, each for so many steps."""
        for number in numbers:
            for _ in range(steps):
                batch = next(self.loops.batches)
                self.loops.main[number].step(batch, self.loops.teacher, self.spans)

    def warm_up(self) -> None:
        """Train every loop for a step: cuDNN's benchmark chooses the kernels."""
        use_usual_settings()
        self.train(range(len(self.loops.main)), 1)

    def time(self) -> list[float]:
        """Return the seconds of a step, loop by loop."""
        use_usual_settings()
        if self.device.type == "cuda":
            # What the DataLoader has loaded while it was idle would come for free.
            self.train([0], PREFETCHED)
        epochs = [partial(self.train, [n], self.steps) for n in range(len(self.loops.main))]
        return [float(time_work(self.device, epoch)[1]) / self.steps for epoch in epochs]

    def count_waits(self, numbers: Sequence[int]) -> int | None:
        """Train these loops for an epoch each; return how often the host waited."""
        use_usual_settings()
        return count_waits(self.device, partial(self.train, numbers, self.steps))


class NoSpans(Spans):
    """Times nothing: timers within a step would slow the usual loop down."""

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        yield


# ---------------------------------------------------------------- a pair's measurement


def measure_epochs(
    setting: Setting, loops: UsualLoops, pair: PairNames, entries: Sequence[Row]
) -> PairEpochs:
    """Time short epochs by every loop in every numerics profile, of one method and of all.

    ``loops`` are the usual loops of the same entries. Raises ``UserError`` if a learner fails.
    """
    stream = setting.short_stream(EPOCH_BATCHES)
    labels = [entry.label for entry in entries]
    alone = labels.index(SINGLE_METHOD) if SINGLE_METHOD in labels else 0
    groups = {1: [alone], len(entries): range(len(entries))}
    sides = {
        (name, numerics, count): SuiteSide(
            setting, stream, pair, [entries[n] for n in numbers], numerics, make
        )
        for numerics in PROFILES
        for name, make in LOOPS.items()
        for count, numbers in groups.items()
    }
    usual = UsualSide(loops, EPOCH_BATCHES)
    usual.warm_up()
    for side in sides.values():
        side.warm_up(DISCARDED)
    rounds = []
    for number in range(EPOCH_ROUNDS):
        order = reversed(sides.items()) if number % 2 else sides.items()
        time_suite = partial(time_sides, order)
        rounds.append(measure_in_turns(number, usual.time, time_suite))
    timed = []
    for count, numbers in groups.items():
        seconds = [sum(loop_seconds[n] for n in numbers) for loop_seconds, _ in rounds]
        timed.append(EpochTimes("usual", "usual", count, seconds, usual.count_waits(numbers)))
    for key, side in sides.items():
        seconds = [suite_seconds[key] for _, suite_seconds in rounds]
        waits = side.count_waits()
        timed.append(EpochTimes(*key, seconds, waits, side.refused))
    return PairEpochs(labels[alone], len(entries), timed)


Key = tuple[str, str, int]
"""Loop, numerics profile, number of methods."""


def time_sides(sides: Iterable[tuple[Key, SuiteSide]]) -> dict[Key, float]:
    """Time an epoch of each side, in this order."""
    return {key: side.time() for key, side in sides}


def count_waits(device: torch.device, work: Callable[[], object]) -> int | None:
    """Call ``work``; return how often the host waited for a GPU in it, as far as torch notices."""
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
