"""Accuracy against another quantity: a point with its name for each method.

One pair, or a few pairs with few methods, have a panel each with top-1. Otherwise there is one
panel over all pairs, with the mean difference to scratch: a mean of top-1 over pairs says nothing.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.report.plots.labels import place_names
from benchmark.report.plots.points import (
    Measure,
    MethodPoint,
    pareto_front,
    points_of_pair,
    points_over_pairs,
)
from benchmark.report.plots.style import (
    GREY,
    LABEL,
    MAX_LINES,
    add_legend,
    dataset_suffix,
    freeze_layout,
    is_leftmost,
    label_below,
    pair_title,
    panel_grid,
    robust_limits,
    styled,
)
from benchmark.report.plots.text import shorten, with_minus, wrap
from benchmark.report.results.outcomes import Results

FEW_PAIRS = 6
MAX_NAMES = 40  # of more methods only those on the Pareto front and the references are named
REFERENCES = ("scratch", "kd")
PANEL_SIZES = {1: (5.6, 4.2), 2: (4.2, 3.7)}  # inches, by the number of panels
MARKER = 6  # points
FRONT: dict[str, Any] = {"color": "0.6", "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1.5}

Panels = Sequence[tuple[int | None, Measure]]
"""The pair of each panel (None: all pairs) and the quantity on its x axis."""
Points = Sequence[MethodPoint]


def draw_scatter(results: Results, measures: Sequence[Measure]) -> Iterator[Figure]:
    """Yield the picture; none if no panel has two points."""
    grid = results.manifest
    columns: list[int | None] = [None]
    if len(grid.columns) == 1 or (
        len(grid.columns) <= FEW_PAIRS and len(grid.methods) <= MAX_LINES
    ):
        columns = list(range(len(grid.columns)))
    elif "scratch" not in grid.methods:
        return
    panels = [(column, measure) for column in columns for measure in measures]
    points = [
        points_over_pairs(results, measure)
        if column is None
        else points_of_pair(results, column, measure)
        for column, measure in panels
    ]
    if max(map(len, points)) > 1:
        yield _draw(results, panels, points)


@styled
def _draw(results: Results, panels: Panels, points: Sequence[Points]) -> Figure:
    measures = len({measure.label for _, measure in panels})
    width, height = PANEL_SIZES.get(len(panels), (3.1, 2.9))
    figure, every = panel_grid(len(panels), 4 if measures > 1 else 3, [width], [height])
    for (axes,), (column, measure), here in zip(every, panels, points, strict=True):
        # All panels of a pair have the same y axis.
        same_pair = [some for (pair, _), some in zip(panels, points, strict=True) if pair == column]
        _set_limits(axes, here, list(chain(*same_pair)))
        _draw_points(axes, here)
        if measure.cost:
            axes.step(*_front_steps(axes, here), where="post", scalex=False, scaley=False, **FRONT)
        if column is not None:
            axes.set_title(pair_title(results, column, width - 0.9))
        if is_leftmost(axes):
            axes.set_ylabel(_y_label(results, column))
        if measures > 1:
            axes.set_xlabel(measure.label if column is not None else measure.label_over_pairs)
    column, measure = panels[0]
    if measures == 1:
        label_below(every, measure.label if column is not None else measure.label_over_pairs)
    _add_legend(figure, panels, points)
    freeze_layout(figure)
    for (axes,), (_, measure), here in zip(every, panels, points, strict=True):
        _write_names(axes, here, measure, 8 if len(panels) <= 2 else 7)
    return figure


def _y_label(results: Results, column: int | None) -> str:
    if column is None:
        pairs = len(results.manifest.columns)
        return f"mean gain over scratch\nover {pairs} pairs (percentage points)"
    return wrap(f"{results.manifest.measure}{dataset_suffix(results)} (%)", 1.9, LABEL)


def _set_limits(axes: Axes, points: Points, all_points: Points) -> None:
    """Leave room for names; points far below the others do not set the y axis.

    `all_points` are those of all panels with the same y axis.
    """
    if all_points:
        low, _ = robust_limits(list({p.name: p.y for p in all_points}.values()))
        inside = [point for point in all_points if point.y >= low]
        axes.set_ylim(_limits([p.y for p in inside], [p.dy for p in inside]))
    if points:
        axes.set_xlim(_limits([p.x for p in points], [p.dx for p in points]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _limits(means: Sequence[float], spreads: Sequence[float]) -> tuple[float, float]:
    """Return limits that hold error bars, or part of those much longer than the means' range."""
    extent = (max(means) - min(means)) or 0.01 * abs(means[0]) or 1.0
    bars = [min(spread, extent) if spread > 0 else 0.0 for spread in spreads]
    low = min(mean - bar for mean, bar in zip(means, bars, strict=True))
    high = max(mean + bar for mean, bar in zip(means, bars, strict=True))
    margin = 0.1 * max(high - low, extent)
    return low - margin, high + margin


def _draw_points(axes: Axes, points: Points) -> None:
    """Draw each point with its error bars; incomplete ones are hollow.

    A point below the axis limits becomes a triangle on the lower edge.
    """
    low, _ = axes.get_ylim()
    for point in points:
        below, colour = point.y < low, point.style.colour
        axes.plot(
            point.x,
            max(point.y, low),
            marker="v" if below else point.style.marker,
            color=colour,
            markerfacecolor=colour if point.complete else "white",
            markersize=MARKER,
            zorder=3,
            clip_on=False,
        )
        for ends in _error_bars(point):
            axes.plot(*zip(*ends, strict=True), color=colour, alpha=0.45, linewidth=0.9, zorder=2)


def _error_bars(point: MethodPoint) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the two ends of each error bar; none where the deviation is unknown."""
    x, y, dx, dy = point.x, point.y, point.dx, point.dy
    bars = [(dx, ((x - dx, y), (x + dx, y))), (dy, ((x, y - dy), (x, y + dy)))]
    return [ends for deviation, ends in bars if not math.isnan(deviation)]


def _front_steps(axes: Axes, points: Points) -> tuple[list[float], list[float]]:
    """Return the corners of the Pareto front, which is level from its last point to the right."""
    front = pareto_front(points)
    right = [axes.get_xlim()[1]] if front else []
    return [*(p.x for p in front), *right], [p.y for p in [*front, *front[-1:]]]


def _write_names(axes: Axes, points: Points, measure: Measure, size: float) -> None:
    """Write names beside their points; one below the axis limits comes with its value."""
    low, _ = axes.get_ylim()
    front = pareto_front(points) if measure.cost else []
    named = list(points)
    if len(points) > MAX_NAMES:
        named = [point for point in points if point in front or point.name in REFERENCES]
    names = [
        f"{shorten(p.name, 1.5, size)} ▾ {with_minus(f'{p.y:.1f}')}"
        if p.y < low
        else shorten(p.name, 1.5, size)
        for p in named
    ]
    lines = [ends for point in points for ends in _error_bars(point)]
    if front:
        xs, ys = _front_steps(axes, points)
        lines += [((x, y), (after, y)) for (x, after), y in zip(pairwise(xs), ys, strict=False)]
        lines += [((x, y), (x, after)) for x, (y, after) in zip(xs[1:], pairwise(ys), strict=False)]
    place_names(
        axes,
        names,
        np.array([(p.x, max(p.y, low)) for p in named]).reshape(-1, 2),
        np.array([(p.x, max(p.y, low)) for p in points if p not in named]).reshape(-1, 2),
        np.array(lines, float).reshape(-1, 2, 2),
        size,
    )


def _add_legend(figure: Figure, panels: Panels, points: Sequence[Points]) -> None:
    over_pairs = panels[0][0] is None
    spread = "mean ± std over pairs" if over_pairs else "mean ± std over seeds"
    dot: dict[str, Any] = {"color": GREY, "marker": "o", "markersize": 5}
    handles: dict[str, Artist] = {spread: Line2D([], [], linewidth=0.9, **dot)}
    if any(measure.cost for _, measure in panels):
        handles["Pareto front"] = Line2D([], [], **FRONT)
    if not all(point.complete for here in points for point in here):
        label = "not on all pairs" if over_pairs else "not all seeds done"
        handles[label] = Line2D([], [], markerfacecolor="white", linestyle="", **dot)
    add_legend(figure, handles)
