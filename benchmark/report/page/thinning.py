"""A run's history made small enough for a page that holds a thousand."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from benchmark.report.results.outcomes import FEW_DROPS, STEEP

Entry = Mapping[str, Any]


def kept(history: Sequence[Entry], most: int) -> list[int]:
    """The places of about so many epochs: evenly spread, with each phase's first and last."""
    last = len(history) - 1
    if last < most:
        return list(range(last + 1))
    even = {round(place * last / (most - 1)) for place in range(most)}
    turns = [i for i in range(last) if history[i]["phase"] != history[i + 1]["phase"]]
    return sorted(even | {i + step for i in turns for step in (0, 1)})


def axis(history: Sequence[Entry], places: Sequence[int]) -> dict[str, Any]:
    """What runs of one recipe share: the epochs kept, where phases end, where the lr drops."""
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
        if now.get("lr", 0) > STEEP * after["lr"]
    ]
    epochs = [history[place]["epoch"] for place in places]
    return {"epochs": epochs, "phases": phases, "drops": drops if len(drops) <= FEW_DROPS else []}


def hundredths(history: Sequence[Entry], places: Sequence[int]) -> list[int]:
    """Top-1 in hundredths of a percent."""
    return [round(100 * history[place]["top1"]) for place in places]


def losses(history: Sequence[Entry], places: Sequence[int]) -> dict[str, list[Any]]:
    """Each loss term as [first place, values]; three digits, None where a phase has it not."""
    names = dict.fromkeys(name for place in places for name in history[place].get("losses", {}))
    found: dict[str, list[Any]] = {}
    for name in names:
        values = [rounded(history[place].get("losses", {}).get(name)) for place in places]
        there = [i for i, value in enumerate(values) if value is not None]
        if there:
            found[name] = [there[0], values[there[0] : there[-1] + 1]]
    return found


def rounded(value: object, digits: int = 3) -> float | None:
    """A number to so many significant digits; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short
