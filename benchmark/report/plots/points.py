"""A method's point in a plot of accuracy against another quantity, for one pair or over pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import nan
from statistics import fmean, geometric_mean, median, stdev
from typing import NamedTuple

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics.analysis import top1_by_seed


@dataclass(frozen=True)
class Measure:
    """The quantity on the x axis."""

    label: str
    label_over_pairs: str
    of: Callable[[Outcome], float | None]
    """Its value for one run."""
    cost: bool = False
    """Whether less is better. Costs are medians over seeds, since a busy machine says nothing
    about a method, and over pairs they are relative to scratch."""


class MethodPoint(NamedTuple):
    """A method's point; `dx` and `dy` are standard deviations and may be nan."""

    name: str
    style: MethodStyle
    x: float
    y: float
    dx: float
    dy: float
    complete: bool
    """Whether it is the mean over all seeds, or over all pairs."""


def points_of_pair(results: Results, column: int, measure: Measure) -> list[MethodPoint]:
    """Return top-1 against the measure: means and sample standard deviations over the seeds."""
    points = []
    for name, style in method_styles(results.manifest.methods).items():
        outcomes = results.students[column, name]
        if known := _known(outcomes, measure):
            xs, ys = zip(*known.values(), strict=True)
            x, dx = (median(xs), nan) if measure.cost else (fmean(xs), _spread(xs))
            complete = len(known) == len(outcomes)
            points.append(MethodPoint(name, style, x, fmean(ys), dx, _spread(ys), complete))
    return points


def points_over_pairs(results: Results, measure: Measure) -> list[MethodPoint]:
    """Return the mean difference to scratch, and its spread over pairs, against the measure.

    A method's point is over the pairs on which all its seeds and all of scratch are known.
    """
    grid = results.manifest
    points = []
    for name, style in method_styles(grid.methods).items():
        gains = [_gain(results, column, name, measure) for column in range(len(grid.columns))]
        known = [gain for gain in gains if gain is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            x = geometric_mean(xs) if measure.cost else fmean(xs)
            complete = len(known) == len(gains)
            points.append(MethodPoint(name, style, x, fmean(ys), nan, _spread(ys), complete))
    return points


def _gain(results: Results, column: int, name: str, measure: Measure) -> tuple[float, float] | None:
    """Return a method's measure and its difference to scratch; None unless both are complete."""
    known = _known(results.students[column, name], measure)
    scratch = top1_by_seed(results.students[column, "scratch"])
    if not len(known) == len(scratch) == len(results.manifest.seeds):
        return None
    x = (median if measure.cost else fmean)(value for value, _ in known.values())
    if measure.cost:
        scratch_costs = _known(results.students[column, "scratch"], measure)
        if len(scratch_costs) < len(scratch):
            return None
        x /= median(value for value, _ in scratch_costs.values())
    return x, fmean(top1 for _, top1 in known.values()) - fmean(scratch.values())


def pareto_front(points: Sequence[MethodPoint]) -> list[MethodPoint]:
    """Return the points that no other one beats at the same cost or less, cheapest first."""
    order = sorted(points, key=lambda point: (point.x, -point.y))
    best = accumulate((point.y for point in order), max)
    before = [-float("inf"), *best]
    return [point for point, reached in zip(order, before, strict=False) if point.y > reached]


def _known(outcomes: Sequence[Outcome], measure: Measure) -> dict[int | None, tuple[float, float]]:
    """Return measure and top-1 by seed, where both are known."""
    known = {}
    for outcome in outcomes:
        value = measure.of(outcome)
        if outcome.record is not None and value is not None:
            known[outcome.seed] = (value, outcome.record.result.top1)
    return known


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else nan
