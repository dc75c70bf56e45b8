"""From seconds to figures: what a training costs either way, and medians of paired ratios."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.training.meters import Times

Parts = Mapping[str, Times]
"""Mean seconds of a step's parts: `input`, `teacher`, and each phase's own by its key."""


class Stretch(NamedTuple):
    """A phase of a method, as far as its cost goes."""

    key: str
    epochs: int
    reads_teacher: bool


Plan = Sequence[Stretch]
"""A method's phases."""
Course = Mapping[tuple[Stretch, ...], int]
"""For how many epochs which phases are trained side by side."""


class Round(NamedTuple):
    """Both sides, measured one right after the other."""

    usual: Parts
    suite: Parts


class Figure(NamedTuple):
    """A ratio of two times."""

    median: float
    """Over the rounds, by the clock of work."""
    low: float
    high: float
    wall: float
    """The median by the wall's clock."""
    rounds: int


def main_course(plans: Sequence[Plan]) -> Course:
    """Return the methods' last phases, side by side."""
    return {tuple(plan[-1] for plan in plans): 1}


def whole_course(plans: Sequence[Plan]) -> Course:
    """Return all epochs of all phases, as a cohort goes through them: all begin together."""
    runs = [[stretch for stretch in plan for _ in range(stretch.epochs)] for plan in plans]
    longest = max(map(len, runs))
    return Counter(
        tuple(run[epoch] for run in runs if epoch < len(run)) for epoch in range(longest)
    )


def together(parts: Parts, course: Course) -> Times:
    """A cohort: one batch and at most one teacher pass for all. The unit is one step an epoch."""
    costs = [
        epochs
        * (
            parts["input"]
            + parts["teacher"] * any(stretch.reads_teacher for stretch in side)
            + sum(parts[stretch.key] for stretch in side)
        )
        for side, epochs in course.items()
    ]
    return np.asarray(np.sum(costs, axis=0))


def apart(parts: Parts, course: Course, always: bool) -> Times:
    """A loop for each method; ``always``: with a teacher pass also where no loss reads it."""
    costs = [
        epochs * (parts["input"] + parts["teacher"] * (always or s.reads_teacher) + parts[s.key])
        for side, epochs in course.items()
        for s in side
    ]
    return np.asarray(np.sum(costs, axis=0))


def ratio(rounds: Sequence[Round], of: Callable[[Round], Times]) -> Figure:
    """Sum up a ratio that each round has once by either clock."""
    work, wall = np.array([of(one) for one in rounds]).T
    return Figure(
        float(np.median(work)),
        float(work.min()),
        float(work.max()),
        float(np.median(wall)),
        len(rounds),
    )


def figures(rounds: Sequence[Round], plans: Sequence[Plan]) -> dict[str, Figure]:
    """Return a pair's figures by name. All are times as fast, but ``cohort``, a share."""
    main, whole = main_course(plans), whole_course(plans)

    def students(parts: Parts) -> Times:
        return np.asarray(np.sum([parts[plan[-1].key] for plan in plans], axis=0))

    def cohort(one: Round) -> Times:
        return together(one.suite, main) / apart(one.suite, main, always=False)

    def total(course: Course, always: bool) -> Callable[[Round], Times]:
        return lambda one: apart(one.usual, course, always) / together(one.suite, course)

    return {
        "teacher": ratio(rounds, lambda one: one.usual["teacher"] / one.suite["teacher"]),
        "student": ratio(rounds, lambda one: students(one.usual) / students(one.suite)),
        "cohort": ratio(rounds, cohort),
        "main": ratio(rounds, total(main, always=True)),
        "main, unused teacher skipped": ratio(rounds, total(main, always=False)),
        "whole": ratio(rounds, total(whole, always=True)),
        "whole, unused teacher skipped": ratio(rounds, total(whole, always=False)),
    }


def middle(rounds: Sequence[Round], of: Callable[[Round], Times]) -> float:
    """Return the median seconds of work."""
    return statistics.median(float(of(one)[0]) for one in rounds)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the mean that ratios have."""
    return math.exp(statistics.fmean(map(math.log, values)))
