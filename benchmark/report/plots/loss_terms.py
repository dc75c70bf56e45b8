"""Loss terms over the epochs, and the axis that shows them."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from benchmark.report.plots.canvas import Points
from benchmark.report.results.outcomes import Outcome

FAR = 3  # times: where values are further apart, the axis is logarithmic
DECADES = 4  # what a logarithmic axis shows at most


class LossTerm(NamedTuple):
    """A loss term: the epochs that have it, mean and range over the seeds that are done."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


class Scale(NamedTuple):
    """An axis of losses; its ends are logarithms to base ten where it is `steep`."""

    low: float
    high: float
    steep: bool

    def of(self, values: Sequence[float]) -> Points:
        """Where values stand; what has no logarithm, or too low a one, is at the lower end."""
        if not self.steep:
            return np.asarray(values, float)
        found: Points = np.log10(np.maximum(np.asarray(values, float), 10**self.low))
        return found

    def ticks(self) -> list[float]:
        """Two to four losses that get a number, where there are round ones."""
        if not self.steep:
            found = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
            return [float(tick) for tick in found if self.low <= tick <= self.high]
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = [step * 10.0**power for power in powers for step in steps]
            inside = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
            if len(inside) > 1:
                break
        return inside[:: max(1, math.ceil(len(inside) / 4))]


def loss_terms(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], LossTerm]:
    """Every term by its name and phase, in the order in which they come.

    One that two phases have is two: what they weigh need not be the same.
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


def fit(shown: Iterable[LossTerm]) -> Scale:
    """The axis that holds them; logarithmic where none is negative and they are far apart."""
    values = [value for term in shown for value in (*term.low, *term.high)]
    positive = [value for value in values if value > 0]
    low, high = min(values), max(values)
    steep = low >= 0 and high > FAR * min(positive, default=high)
    if steep:
        high = math.log10(high)
        low = max(math.log10(min(positive)), high - DECADES)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return Scale(low - margin, high + margin, steep)
