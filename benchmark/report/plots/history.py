"""Curves over the epochs, from the histories of a method's runs on one pair."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from benchmark.report.results.outcomes import LR_DROP_FACTOR, MAX_LR_DROPS, Outcome
from benchmark.store.record import Epoch


class AccuracyCurve(NamedTuple):
    """Top-1 in percent after each epoch: mean and range over the finished seeds."""

    mean: list[float]
    low: list[float]
    high: list[float]
    initialising: int
    """Number of epochs before the method's last phase."""


class LossTerm(NamedTuple):
    """A loss term over the epochs that have it: mean and range over the finished seeds."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def accuracy_curve(outcomes: Iterable[Outcome]) -> AccuracyCurve | None:
    """Return the curve of one method on one pair; None without a finished seed."""
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    if not records:
        return None
    seeds = list(zip(*([epoch.top1 for epoch in r.history] for r in records), strict=False))
    means = [fmean(values) for values in seeds]
    low, high = [min(values) for values in seeds], [max(values) for values in seeds]
    return AccuracyCurve(means, low, high, records[0].initialising())


def loss_terms(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], LossTerm]:
    """Return loss terms by name and phase, in order of appearance.

    A term of two phases gives two entries, since its weight may change between them.
    """
    histories = [outcome.record.history for outcome in outcomes if outcome.record]
    found: dict[tuple[str, str], LossTerm] = {}
    for seeds in zip(*histories, strict=False):
        for name in seeds[0].losses:
            values = [epoch.losses[name] for epoch in seeds if name in epoch.losses]
            if all(map(math.isfinite, values)):
                term = found.setdefault((name, seeds[0].phase), LossTerm([], [], [], []))
                term.epochs.append(seeds[0].epoch)
                term.mean.append(fmean(values))
                term.low.append(min(values))
                term.high.append(max(values))
    return found


def first_history(outcomes: Sequence[Outcome]) -> Sequence[Epoch]:
    """Return the history of the first finished seed: all seeds have its phases and rates."""
    return next((outcome.record.history for outcome in outcomes if outcome.record), ())


def phase_ends(history: Sequence[Epoch]) -> list[float]:
    """Return where phases end, halfway between two epochs."""
    return [now.epoch + 0.5 for now, after in pairwise(history) if now.phase != after.phase]


def learning_rate_drops(history: Sequence[Epoch]) -> tuple[int, ...]:
    """Return the epochs after which the learning rate drops; none if it falls all the time."""
    found = tuple(
        now.epoch
        for now, after in pairwise(history)
        if now.phase == after.phase and now.lr and after.lr and now.lr > LR_DROP_FACTOR * after.lr
    )
    return found if len(found) <= MAX_LR_DROPS else ()


def draw_mean_and_range(
    axes: Axes,
    epochs: Sequence[int],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    **line: Any,  # noqa: ANN401 - matplotlib's properties of a line
) -> None:
    """Draw a line on a band; a single epoch is a marker with a bar, since it has no line."""
    if len(epochs) == 1:
        line |= {"marker": line.get("marker", "o"), "markersize": 4, "markevery": None}
        axes.vlines(epochs, low, high, color=line["color"], alpha=0.4, linewidth=3, zorder=1.9)
    else:
        axes.fill_between(epochs, low, high, color=line["color"], alpha=0.18, linewidth=0)
    axes.plot(epochs, mean, **line)
