"""What has been measured, and its goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.speed.agreement import Agreement
from benchmark.speed.epochs import Epochs, Key
from benchmark.speed.fsp_loss import Flow
from benchmark.speed.input import Input
from benchmark.speed.ratios import (
    Figure,
    Plan,
    Round,
    figures,
    geometric_mean,
    main_course,
    middle,
    together,
)
from benchmark.speed.roofline import Counted, Rates
from benchmark.speed.trainings import SEEDS, TABLE, Training, whole_table
from benchmark.training.numerics import PROFILES


@dataclass(frozen=True)
class PairResult:
    """A pair's rounds."""

    teacher: str
    student: str
    methods: Sequence[str]
    left_out: Mapping[str, str]
    """Methods that do not apply, and why."""
    plans: Sequence[Plan]
    rounds: Sequence[Round]
    flow: Flow | None
    counted: tuple[Counted, Counted]
    """Teacher's, student's."""
    epochs: Epochs | None = None
    """Whole epochs, on a GPU."""

    @property
    def name(self) -> str:
        """As it is said."""
        return f"{self.teacher} -> {self.student}"

    def seconds(self, plans: Sequence[Plan]) -> float:
        """Of a step of the suite's with some of its methods, in their main phases."""
        return middle(self.rounds, lambda one: together(one.suite, main_course(plans)))

    @property
    def figures(self) -> dict[str, Figure]:
        """Ratios by name."""
        return figures(self.rounds, self.plans)


class Memory(NamedTuple):
    """Of a cohort."""

    mib: float
    """At its peak."""
    of: str


@dataclass(frozen=True)
class Result:
    """What has been measured so far."""

    facts: Mapping[str, Any]
    """Machine, threads, load, versions, date, and what was asked for."""
    rates: Rates
    pairs: Sequence[PairResult] = ()
    input: Input | None = None
    memory: Memory | None = None
    agreement: Agreement | None = None
    """On a GPU, as what follows."""
    trainings: Sequence[Training] = ()

    @property
    def batch(self) -> int:
        """Images a step."""
        return int(self.facts["batch"])

    def mean(self, name: str) -> float:
        """Return a figure's geometric mean over the pairs."""
        return geometric_mean([pair.figures[name].median for pair in self.pairs])

    @property
    def shares(self) -> dict[str, float]:
        """The input's part of a step, where that is shortest."""
        if not self.pairs or self.input is None:
            return {}
        alone = min(pair.seconds([plan]) for pair in self.pairs for plan in pair.plans)
        together = min(pair.seconds(pair.plans) for pair in self.pairs)
        seconds = self.input.batch_seconds
        return {"a cohort": seconds / together, "one method alone": seconds / alone}


# ---------------------------------------------------------------- goals

IMAGES = 50_000
"""CIFAR-100's to train on."""
LONG = "resnet32x4 -> resnet8x4"
"""The pair whose full training has a goal."""


class Goal(NamedTuple):
    """A figure beside what it should be."""

    what: str
    value: str
    wanted: str
    met: bool


def goals(result: Result) -> Iterator[Goal]:
    """Yield the goals that can be judged by what was measured."""
    if result.agreement:
        found = result.agreement
        what = f"losses and weights by graphs and without after {found.steps} steps, {found.of}"
        equal = not found.differing and not found.refused
        yield Goal(what, "equal" if equal else "NOT equal", "bit-equal", equal)
    if result.pairs:
        count = max(len(pair.methods) for pair in result.pairs)
        for name, words in (("main", "main phases"), ("whole", "all epochs of all phases")):
            what = f"{count} methods together, geometric mean of the pairs, {words}"
            yield faster(what, result.mean(name), 1.8)
    if result.input:
        yield faster("input, images/s and core", result.input.figure.median, 20)
        compared, equal = f"{result.input.compared} compared", result.input.equal
        told = f"{compared}: {'equal' if equal else 'NOT equal'}"
        yield Goal("pixels for the same draw", told, "bit-equal", equal)
    for whose, share in result.shares.items():
        what = f"input's share of the shortest step of {whose}"
        yield Goal(what, f"{share:.2%}", "< 0.30%", share < 0.003)
    if result.memory:
        gib = result.memory.mib / 1024
        yield Goal(f"peak memory, {result.memory.of}", f"{gib:.2f} GiB", "< 4 GiB", gib < 4)
    yield from goals_of_epochs(result)
    yield from goals_of_trainings(result)


def goals_of_epochs(result: Result) -> Iterator[Goal]:
    """Yield those of whole epochs by graphs."""
    found = [(pair.name, pair.epochs) for pair in result.pairs if pair.epochs]
    if not found:
        return
    count = max(one.methods for _, one in found)
    for numerics in PROFILES:
        for what, least in (("a single run", 4), (f"{count} methods together", 12)):
            whole = [
                one.faster(Key("graphs", numerics, 1 if least == 4 else one.methods))
                for _, one in found
            ]
            words = f"{what}, whole epochs by graphs in {numerics}, geometric mean of the pairs"
            yield faster(words, geometric_mean(whole), least)
    counted = [t.waits for _, one in found for k, t in one.timed.items() if k.loop == "graphs"]
    most = max((waits for waits in counted if waits is not None), default=None)
    if most is not None:
        what = "host synchronisations of an epoch by graphs, the reading of its sums included"
        yield Goal(what, str(most + 1), "<= 2", most + 1 <= 2)


def goals_of_trainings(result: Result) -> Iterator[Goal]:
    """Yield those of whole trainings, computed from epochs and evaluations."""
    steps = IMAGES / result.batch
    for one in result.trainings:
        if one.name == LONG:
            minutes = one.seconds(steps) / 60
            what = f"all epochs of a cohort of {one.runs} in {one.numerics}, {LONG}, computed"
            yield Goal(what, f"{minutes:.1f} min", "< 8 min", minutes < 8)
    for numerics in PROFILES:
        seconds = whole_table(result.trainings, numerics, steps)
        if seconds is not None:
            hours = seconds / 3600
            what = f"the CRD table's {len(TABLE)} pairs of one family x {SEEDS} seeds in {numerics}"
            yield Goal(f"{what}, computed", f"{hours:.2f} h", "< 3 h (stretch 1.5)", hours < 3)


def faster(what: str, value: float, least: float) -> Goal:
    """Return the goal of being at least so many times as fast."""
    return Goal(what, f"{value:.2f}x", f">= {least:g}x", value >= least)
