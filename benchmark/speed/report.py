"""What one call has measured, its goals, and all of it as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.numerics import PROFILES
from benchmark.speed.epochs import Epochs, Key
from benchmark.speed.figures import (
    Figure,
    Plan,
    Round,
    figures,
    geometric_mean,
    main_course,
    middle,
    together,
)
from benchmark.speed.floor import Counted, Rates, floor
from benchmark.speed.flow import Flow
from benchmark.speed.input import Input


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


@dataclass(frozen=True)
class Result:
    """All that one call has measured."""

    facts: Mapping[str, Any]
    """Machine, threads, load, versions, date, and what was asked for."""
    pairs: Sequence[PairResult]
    input: Input
    memory_mb: float
    memory_of: str
    rates: Rates

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
    count = max(len(pair.methods) for pair in result.pairs)
    for name, words in (("main", "main phases"), ("whole", "all epochs of all phases")):
        what = f"{count} methods together, geometric mean of the pairs, {words}"
        yield faster(what, result.mean(name), 1.8)
    yield faster("input, images/s and core", result.input.figure.median, 20)
    compared, equal = f"{result.input.compared} compared", result.input.equal
    yield Goal(
        "pixels for the same draw",
        f"{compared}: {'equal' if equal else 'NOT equal'}",
        "bit-equal",
        equal,
    )
    for whose, share in result.shares.items():
        what = f"input's share of the shortest step of {whose}"
        yield Goal(what, f"{share:.2%}", "< 0.30%", share < 0.003)
    memory = result.memory_mb / 1024
    yield Goal(f"peak memory, {result.memory_of}", f"{memory:.2f} GiB", "< 4 GiB", memory < 4)
    yield from goals_of_epochs(result)


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
        for name, one in found:
            if name == LONG:
                minutes = one.full(numerics, IMAGES / result.batch) / 60
                what = f"all epochs of {count} methods and scratch in {numerics}, {name}, computed"
                yield Goal(what, f"{minutes:.1f} min", "< 8 min", minutes < 8)
    counted = [t.waits for _, one in found for k, t in one.timed.items() if k.loop == "graphs"]
    most = max((waits for waits in counted if waits is not None), default=None)
    if most is not None:
        what = "host synchronisations of an epoch by graphs, the reading of its sums included"
        yield Goal(what, str(most + 1), "<= 2", most + 1 <= 2)


def faster(what: str, value: float, least: float) -> Goal:
    """Return the goal of being at least so many times as fast."""
    return Goal(what, f"{value:.2f}x", f">= {least:g}x", value >= least)


# ---------------------------------------------------------------- plain data


def as_json(result: Result) -> dict[str, Any]:
    """Return everything, the rounds too."""
    return {
        "schema": 1,
        "facts": dict(result.facts),
        "pairs": [pair_as_json(pair, result.rates) for pair in result.pairs],
        "input": {**result.input._asdict(), "figure": result.input.figure._asdict()},
        "input_shares": result.shares,
        "memory": {"peak_mb": result.memory_mb, "of": result.memory_of},
        "rates": result.rates._asdict(),
        "geometric_means": {name: result.mean(name) for name in result.pairs[0].figures},
        "goals": [goal._asdict() for goal in goals(result)],
    }


def pair_as_json(pair: PairResult, rates: Rates) -> dict[str, Any]:
    """Return a pair's figures and rounds; times are [work, wall] in seconds a step."""
    flow = pair.flow and {**pair.flow._asdict(), "figure": pair.flow.figure._asdict()}
    teacher, student = pair.counted
    low = floor(*pair.counted, len(pair.plans), rates)
    return {
        "teacher": pair.teacher,
        "student": pair.student,
        "left_out": dict(pair.left_out),
        "phases": {
            label: [stretch._asdict() for stretch in plan]
            for label, plan in zip(pair.methods, pair.plans, strict=True)
        },
        "figures": {name: figure._asdict() for name, figure in pair.figures.items()},
        "fsp": flow,
        "counted": {"teacher": teacher._asdict(), "student": student._asdict()},
        "floor": low._asdict(),
        "epochs": pair.epochs and pair.epochs.as_json(),
        "rounds": [
            {
                side: {name: list(map(float, times)) for name, times in parts.items()}
                for side, parts in one._asdict().items()
            }
            for one in pair.rounds
        ],
    }
