"""Accuracy against something else that is measured: a point a method, with its name.

One pair, or a few with few methods: top-1, a panel for each pair. Else one panel over all pairs,
with the mean difference to scratch, since a mean of top-1 over pairs says nothing.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from benchmark.report.plots.labels import label
from benchmark.report.plots.panels import beneath, settle
from benchmark.report.plots.points import (
    Measure,
    MethodPoint,
    pareto_front,
    points_of_pair,
    points_over_pairs,
)
from benchmark.report.plots.style import (
    GREY,
    MANY,
    STYLE,
    add_legend,
    dataset_suffix,
    pair_title,
    robust_limits,
    shorten,
)
from benchmark.report.results.outcomes import Results

FEW_PAIRS = 6
NAMED = 40  # of more methods only those on the front and the references are named
REFERENCES = ("scratch", "kd")
FRONT: dict[str, Any] = {"color": "0.6", "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1.5}

Ends = NDArray[np.float64]  # of lines: two points each
Page = tuple[Figure, list[Axes]]


@mpl.rc_context(STYLE)
def draw_scatter(results: Results, measures: Sequence[Measure]) -> Figure | None:
    """The picture; None where no panel has two points."""
    grid = results.manifest
    places: list[int | None] = [None]
    if len(grid.columns) == 1 or (len(grid.columns) <= FEW_PAIRS and len(grid.methods) <= MANY):
        places = list(range(len(grid.columns)))
    elif "scratch" not in grid.methods:
        return None
    shown = [(place, measure) for place in places for measure in measures]
    spots = [
        points_over_pairs(results, measure)
        if place is None
        else points_of_pair(results, place, measure)
        for place, measure in shown
    ]
    if max(map(len, spots)) < 2:
        return None
    figure, panels = _page(results, places, measures)
    for axes, points, (_, measure) in zip(panels, spots, shown, strict=True):
        _points(axes, points)
        if measure.cost:
            for ends in _steps(axes, pareto_front(points)).reshape(-1, 2, 2):
                axes.plot(*ends.T, **FRONT)
    _explain(figure, places == [None], shown, spots)
    settle(figure)
    for axes, points, (_, measure) in zip(panels, spots, shown, strict=True):
        _name(
            axes, points, pareto_front(points) if measure.cost else [], 8 if len(places) == 1 else 7
        )
    return figure


def _page(results: Results, places: Sequence[int | None], measures: Sequence[Measure]) -> Page:
    """Panels from left to right, those of a pair beside each other, with labels at the outer."""
    panels = len(places) * len(measures)
    down = math.ceil(panels / (4 if len(measures) > 1 else 3))
    across = len(measures) * math.ceil(len(places) / down)
    width, height = {1: (5.6, 4.2), 2: (4.2, 3.7)}.get(across, (3.1, 2.9))
    figure = Figure(figsize=(width * across, height * down + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    every = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in every[panels:]:
        axes.remove()
    for place, axes in enumerate(every[:panels]):
        measure, pair = measures[place % len(measures)], places[place // len(measures)]
        if len(measures) > 1 or panels == 1:
            axes.set_xlabel(measure.label if pair is not None else measure.over)
        if place % across == 0:
            axes.set_ylabel(_upward(results, pair))
        if pair is not None:
            axes.set_title(_title(results, pair))
    if len(measures) == 1 and panels > 1:
        beneath(every[(down - 1) * across : panels], measures[0].label)
    return figure, every[:panels]


def _upward(results: Results, pair: int | None) -> str:
    if pair is None:
        several = len(results.manifest.columns)
        return f"mean gain over scratch\nover {several} pairs (percentage points)"
    return f"{results.manifest.measure}{dataset_suffix(results)} (%)"


def _title(results: Results, pair: int) -> str:
    columns = results.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    return pair_title(columns[pair], several, 56 if len(columns) == 1 else 34)


def _points(axes: Axes, spots: Sequence[MethodPoint]) -> None:
    """Every method's point on its bars; one that is not whole is hollow; limits hold most."""
    _limit(axes, spots)
    low, _ = axes.get_ylim()
    for spot in spots:
        below = spot.y < low
        axes.plot(
            spot.x,
            low if below else spot.y,
            marker="v" if below else spot.look.marker,
            color=spot.look.colour,
            markerfacecolor=spot.look.colour if spot.whole else "white",
            markersize=6,
            zorder=3,
            clip_on=False,
        )
    for ends, spot in zip(_bars(spots).reshape(-1, 2, 2, 2), spots, strict=True):
        for bar in ends:
            axes.plot(*bar.T, color=spot.look.colour, linewidth=0.9, alpha=0.45, zorder=2)


def _limit(axes: Axes, spots: Sequence[MethodPoint]) -> None:
    """Room for names around points and bars; what is far below the others would squash them."""
    if not spots:
        return
    xs, ys = [spot.x for spot in spots], [spot.y for spot in spots]
    low = robust_limits(ys)[0] if len(ys) > 1 else ys[0]
    ys = [y for y in ys if y >= low]
    axes.set_xlim(_hold(xs, [spot.dx for spot in spots]))
    axes.set_ylim(_hold(ys, [spot.dy for spot in spots if spot.y >= low]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _hold(middles: Sequence[float], spreads: Sequence[float]) -> tuple[float, float]:
    """Limits for bars; of those far longer than the points are apart only a part."""
    apart = (max(middles) - min(middles)) or 0.01 * abs(middles[0]) or 1.0
    both = [(m, min(s, apart) if s > 0 else 0.0) for m, s in zip(middles, spreads, strict=True)]
    low, high = min(m - reach for m, reach in both), max(m + reach for m, reach in both)
    margin = 0.1 * max(high - low, apart)
    return low - margin, high + margin


def _bars(spots: Sequence[MethodPoint]) -> Ends:
    """The ends of each point's two error bars, two bars of two ends a point."""
    ends = [
        [(s.x - s.dx, s.y), (s.x + s.dx, s.y), (s.x, s.y - s.dy), (s.x, s.y + s.dy)] for s in spots
    ]
    return np.array(ends, float).reshape(-1, 2)


def _steps(axes: Axes, best: Sequence[MethodPoint]) -> Ends:
    """The front: level to below the next point and up to it, and from the last on to the right."""
    right = axes.get_xlim()[1]
    corners = [(b.x, a.y) for a, b in pairwise(best)]
    path = [(spot.x, spot.y) for spot in best[:1]]
    for corner, spot in zip(corners, best[1:], strict=True):
        path += [corner, corner, (spot.x, spot.y), (spot.x, spot.y)]
    path += [(right, best[-1].y)] if best else []
    return np.array(path).reshape(-1, 2)


def _name(
    axes: Axes, spots: Sequence[MethodPoint], best: Sequence[MethodPoint], size: float
) -> None:
    """Names at the points; one below the panel says how far."""
    low, _ = axes.get_ylim()
    if len(spots) > NAMED:
        named = [spot for spot in spots if spot in best or spot.name in REFERENCES]
    else:
        named = list(spots)
    words = [f"{shorten(s.name)} ▾ {s.y:.1f}" if s.y < low else shorten(s.name) for s in named]
    at, others = (
        np.array([(s.x, max(s.y, low)) for s in some]).reshape(-1, 2)
        for some in (named, [spot for spot in spots if spot not in named])
    )
    bars = _bars(spots).reshape(-1, 4)
    bars = bars[~np.isnan(bars).any(axis=1)].reshape(-1, 2)
    lines = np.concatenate([bars, _steps(axes, best)])
    label(axes, words, at, others, lines, size)


def _explain(
    figure: Figure,
    over: bool,
    shown: Sequence[tuple[int | None, Measure]],
    spots: Sequence[Sequence[MethodPoint]],
) -> None:
    spread = "mean ± std over pairs" if over else "mean ± std over seeds"
    handles: dict[str, Artist] = {
        spread: Line2D([], [], color=GREY, marker="o", markersize=5, linewidth=0.9)
    }
    if any(measure.cost for _, measure in shown):
        handles["Pareto front"] = Line2D([], [], **FRONT)
    if not all(spot.whole for points in spots for spot in points):
        handles["not on all pairs" if over else "not all seeds done"] = Line2D(
            [], [], color=GREY, marker="o", markersize=5, markerfacecolor="white", linestyle=""
        )
    add_legend(figure, handles)
