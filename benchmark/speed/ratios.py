"""From the seconds of a step's parts to speed-ups: what training costs on either side."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import PlainSerializer, PlainValidator

from benchmark.training.meters import Times

Parts = Mapping[
    str, Annotated[Times, PlainValidator(np.array), PlainSerializer(lambda times: times.tolist())]
]
"""Mean seconds of a step's parts: `input`, `teacher`, and each phase without them by its key."""


@dataclass(frozen=True)
class PairNames:
    """A teacher and a student, by the names of their networks."""

    teacher: str
    student: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student}"


@dataclass(frozen=True)
class TimedPhase:
    """What the cost of a method's phase depends on."""

    key: str
    """Its name among the parts of a step."""
    epochs: int
    reads_teacher: bool


MethodPhases = Sequence[TimedPhase]
"""The phases of one method, in order; the last is its main phase."""
Schedule = Mapping[tuple[TimedPhase, ...], int]
"""Which phases train side by side, and for how many epochs."""


@dataclass(frozen=True)
class Round:
    """Both sides, measured one right after the other."""

    usual: Parts
    suite: Parts


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times, over the rounds."""

    median: float
    """Of work: CPU time on a CPU, events on a GPU."""
    low: float
    high: float
    wall: float
    """The median by the wall clock."""
    rounds: int


def main_schedule(methods: Sequence[MethodPhases]) -> Schedule:
    """Return one epoch of all methods' main phases side by side."""
    return {tuple(phases[-1] for phases in methods): 1}


def full_schedule(methods: Sequence[MethodPhases]) -> Schedule:
    """Return all epochs of all phases as a cohort trains them: all methods begin together."""
    runs = [[phase for phase in phases for _ in range(phase.epochs)] for phases in methods]
    longest = max(map(len, runs))
    return Counter(
        tuple(run[epoch] for run in runs if epoch < len(run)) for epoch in range(longest)
    )


def cohort_time(parts: Parts, schedule: Schedule) -> Times:
    """Return a cohort's seconds, one step an epoch: it shares each batch and teacher pass."""
    costs = [
        epochs
        * (
            parts["input"]
            + parts["teacher"] * any(phase.reads_teacher for phase in side_by_side)
            + sum(parts[phase.key] for phase in side_by_side)
        )
        for side_by_side, epochs in schedule.items()
    ]
    return np.asarray(np.sum(costs, axis=0))


def separate_time(parts: Parts, schedule: Schedule, always_teacher: bool) -> Times:
    """Return the seconds of one loop a method, one step an epoch, all loops added up.

    ``always_teacher``: also phases that do not read the teacher pass every batch through it.
    """
    costs = [
        epochs
        * (
            parts["input"]
            + parts["teacher"] * (always_teacher or phase.reads_teacher)
            + parts[phase.key]
        )
        for side_by_side, epochs in schedule.items()
        for phase in side_by_side
    ]
    return np.asarray(np.sum(costs, axis=0))


def paired_ratio(rounds: Sequence[Round], of: Callable[[Round], Times]) -> Ratio:
    """Compute a ratio in every round, by work and by the wall clock, and summarise the rounds."""
    work, wall = np.array([of(one) for one in rounds]).T
    return Ratio(
        float(np.median(work)),
        float(work.min()),
        float(work.max()),
        float(np.median(wall)),
        len(rounds),
    )


def pair_ratios(rounds: Sequence[Round], methods: Sequence[MethodPhases]) -> dict[str, Ratio]:
    """Return a pair's ratios by name: all are usual / suite, except ``cohort``, a share."""
    main, full = main_schedule(methods), full_schedule(methods)

    def students(parts: Parts) -> Times:
        return np.asarray(np.sum([parts[phases[-1].key] for phases in methods], axis=0))

    def cohort(one: Round) -> Times:
        return cohort_time(one.suite, main) / separate_time(one.suite, main, always_teacher=False)

    def total(schedule: Schedule, always_teacher: bool) -> Callable[[Round], Times]:
        return lambda one: (
            separate_time(one.usual, schedule, always_teacher) / cohort_time(one.suite, schedule)
        )

    return {
        "teacher": paired_ratio(rounds, lambda one: one.usual["teacher"] / one.suite["teacher"]),
        "student": paired_ratio(rounds, lambda one: students(one.usual) / students(one.suite)),
        "cohort": paired_ratio(rounds, cohort),
        "main": paired_ratio(rounds, total(main, always_teacher=True)),
        "main, unused teacher skipped": paired_ratio(rounds, total(main, always_teacher=False)),
        "whole": paired_ratio(rounds, total(full, always_teacher=True)),
        "whole, unused teacher skipped": paired_ratio(rounds, total(full, always_teacher=False)),
    }


def median_seconds(rounds: Sequence[Round], of: Callable[[Round], Times]) -> float:
    """Return the median over the rounds of seconds of work."""
    return statistics.median(float(of(one)[0]) for one in rounds)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean: that of inverse ratios is its inverse."""
    return math.exp(statistics.fmean(map(math.log, values)))
