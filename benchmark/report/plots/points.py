"""A method's point in a picture of accuracy against something else, on a pair or over pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import nan
from statistics import fmean, geometric_mean, median, stdev
from typing import NamedTuple

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics.analysis import by_seed


@dataclass(frozen=True)
class Measure:
    """What a picture has from left to right."""

    label: str
    over: str
    """The label over pairs."""
    of: Callable[[Outcome], float | None]
    cost: bool = False
    """Less is better; the median over seeds, for a busy machine is no property of a method; over
    pairs relative to scratch."""


class MethodPoint(NamedTuple):
    """A method's point; spreads may be nan; `whole` where it is the mean of all."""

    name: str
    look: MethodStyle
    x: float
    y: float
    dx: float
    dy: float
    whole: bool


def points_of_pair(results: Results, column: int, measure: Measure) -> list[MethodPoint]:
    """Top-1 against the measure: means and sample standard deviations over the seeds."""
    spots = []
    for name, look in method_styles(results.manifest.methods).items():
        outcomes = results.students[column, name]
        if known := _known(outcomes, measure):
            xs, ys = zip(*known.values(), strict=True)
            x, dx = (median(xs), nan) if measure.cost else (fmean(xs), _spread(xs))
            whole = len(known) == len(outcomes)
            spots.append(MethodPoint(name, look, x, fmean(ys), dx, _spread(ys), whole))
    return spots


def points_over_pairs(results: Results, measure: Measure) -> list[MethodPoint]:
    """Mean difference to scratch and its standard deviation over pairs, against the measure.

    Of each method over the pairs on which all its seeds and all of scratch are known.
    """
    grid = results.manifest
    spots = []
    for name, look in method_styles(grid.methods).items():
        known = [_gain(results, column, name, measure) for column in range(len(grid.columns))]
        here = [pair for pair in known if pair is not None]
        if here:
            xs, gains = zip(*here, strict=True)
            x = geometric_mean(xs) if measure.cost else fmean(xs)
            whole = len(here) == len(known)
            spots.append(MethodPoint(name, look, x, fmean(gains), nan, _spread(gains), whole))
    return spots


def _gain(results: Results, column: int, name: str, measure: Measure) -> tuple[float, float] | None:
    """A method's measure and its difference to scratch on a pair; None unless both are complete."""
    ours = _known(results.students[column, name], measure)
    theirs = by_seed(results.students[column, "scratch"])
    if not len(ours) == len(theirs) == len(results.manifest.seeds):
        return None
    x = (median if measure.cost else fmean)(value for value, _ in ours.values())
    if measure.cost:
        scratch = _known(results.students[column, "scratch"], measure)
        if len(scratch) < len(theirs):
            return None
        x /= median(value for value, _ in scratch.values())
    return x, fmean(top1 for _, top1 in ours.values()) - fmean(theirs.values())


def pareto_front(spots: Sequence[MethodPoint]) -> list[MethodPoint]:
    """Those that no other one beats, costing less or as much: from the cheapest on."""
    order = sorted(spots, key=lambda spot: (spot.x, -spot.y))
    best = accumulate((spot.y for spot in order), max)
    before = [-float("inf"), *best]
    return [spot for spot, reached in zip(order, before, strict=False) if spot.y > reached]


def _known(outcomes: Sequence[Outcome], measure: Measure) -> dict[int | None, tuple[float, float]]:
    """The measure and top-1 of the seeds of which both are known."""
    found = {}
    for outcome in outcomes:
        value = measure.of(outcome)
        if outcome.record is not None and value is not None:
            found[outcome.seed] = (value, outcome.record.result.top1)
    return found


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else nan
