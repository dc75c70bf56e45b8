"""A run's history reduced to a few epochs, so that a page with a thousand runs stays small."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from benchmark.report.results.outcomes import LR_DROP_FACTOR, MAX_LR_DROPS

EpochEntry = Mapping[str, Any]
"""One epoch of a record's history, as JSON."""


def thinned_indices(history: Sequence[EpochEntry], max_points: int) -> list[int]:
    """Return the indices of the epochs to keep.

    They are `max_points` evenly spaced epochs, and the first and last epoch of each phase. A
    history of up to `max_points` epochs is kept whole.
    """
    last = len(history) - 1
    if last < max_points:
        return list(range(last + 1))
    even = {round(point * last / (max_points - 1)) for point in range(max_points)}
    phase_ends = [i for i in range(last) if history[i]["phase"] != history[i + 1]["phase"]]
    return sorted(even | {i + step for i in phase_ends for step in (0, 1)})


def epoch_axis(history: Sequence[EpochEntry], indices: Sequence[int]) -> dict[str, Any]:
    """Return what runs of one recipe share: kept epochs, ends of phases, learning-rate drops."""
    pairs = list(zip_longest(history, history[1:]))
    phases = [
        [now["phase"], now["epoch"]]
        for now, after in pairs
        if after is None or after["phase"] != now["phase"]
    ]
    drops = [
        now["epoch"]
        for now, after in pairs
        if after and now["phase"] == after["phase"] and after.get("lr", 0) > 0
        if now.get("lr", 0) > LR_DROP_FACTOR * after["lr"]
    ]
    return {
        "epochs": [history[index]["epoch"] for index in indices],
        "phases": phases,
        "drops": drops if len(drops) <= MAX_LR_DROPS else [],
    }


def top1_hundredths(history: Sequence[EpochEntry], indices: Sequence[int]) -> list[int]:
    """Return top-1 after each kept epoch in hundredths of a percent."""
    return [round(100 * history[index]["top1"]) for index in indices]


def thinned_losses(history: Sequence[EpochEntry], indices: Sequence[int]) -> dict[str, list[Any]]:
    """Return each loss term at the kept epochs as `[index of the first value, values]`.

    Values have three significant digits. A value is None if a phase in between lacks the term or
    if the term was not finite.
    """
    names = dict.fromkeys(name for index in indices for name in history[index].get("losses", {}))
    losses: dict[str, list[Any]] = {}
    for name in names:
        values = [
            round_significant(history[index].get("losses", {}).get(name)) for index in indices
        ]
        known = [i for i, value in enumerate(values) if value is not None]
        if known:
            losses[name] = [known[0], values[known[0] : known[-1] + 1]]
    return losses


def round_significant(value: object, digits: int = 3) -> float | None:
    """Return a number with so many significant digits; None for anything but a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded
