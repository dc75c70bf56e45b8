"""Accuracy against another quantity: a point with its name for each method.

One pair, or a few pairs with few methods, have a panel each with top-1. Otherwise there is one
panel over all pairs, with the mean difference to scratch: a mean of top-1 over pairs says nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
from adjustText import adjust_text
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from benchmark.report.plots.points import (
    Measure,
    MethodPoint,
    pareto_front,
    points_of_pair,
    points_over_pairs,
)
from benchmark.report.plots.style import (
    GREY,
    INK,
    MANY_METHODS,
    STYLE,
    add_legend,
    dataset_suffix,
    freeze_layout,
    label_below,
    pair_title,
    panel_grid,
    robust_limits,
    shorten,
)
from benchmark.report.results.outcomes import Results

FEW_PAIRS = 6
MAX_NAMES = 40  # of more methods only those on the Pareto front and the references are named
REFERENCES = ("scratch", "kd")
PANEL_SIZES = {1: (5.6, 4.2), 2: (4.2, 3.7)}  # inches, by the number of panels in a row
MARKER = 3.5  # points: half a marker
FRONT: dict[str, Any] = {"color": "0.6", "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1.5}


def draw_scatter(results: Results, measures: Sequence[Measure]) -> Iterator[Figure]:
    """Yield the picture; none if no panel has two points."""
    grid = results.manifest
    columns: list[int | None] = [None]
    if len(grid.columns) == 1 or (
        len(grid.columns) <= FEW_PAIRS and len(grid.methods) <= MANY_METHODS
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
        with mpl.rc_context(STYLE):
            yield _draw(results, panels, points)


def _draw(
    results: Results,
    panels: Sequence[tuple[int | None, Measure]],
    points: Sequence[Sequence[MethodPoint]],
) -> Figure:
    measures = len({measure.label for _, measure in panels})
    most = 4 if measures > 1 else 3
    width, height = PANEL_SIZES.get(len(panels), (3.1, 2.9))
    figure, every = panel_grid(len(panels), most, [width], [height])
    for (axes,), (column, measure), here in zip(every, panels, points, strict=True):
        _draw_points(axes, here)
        if measure.cost:
            _draw_front(axes, pareto_front(here))
        if column is not None:
            axes.set_title(pair_title(results, column, 56 if len(panels) <= measures else 34))
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(_y_label(results, column))
        if measures > 1:
            axes.set_xlabel(measure.label if column is not None else measure.label_over_pairs)
    column, measure = panels[0]
    if measures == 1:
        label_below(every, measure.label if column is not None else measure.label_over_pairs)
    _add_legend(figure, panels, points)
    freeze_layout(figure)
    for (axes,), (_, measure), here in zip(every, panels, points, strict=True):
        _write_names(axes, here, pareto_front(here) if measure.cost else [], 8 - (len(panels) > 2))
    return figure


def _y_label(results: Results, column: int | None) -> str:
    if column is None:
        pairs = len(results.manifest.columns)
        return f"mean gain over scratch\nover {pairs} pairs (percentage points)"
    return f"{results.manifest.measure}{dataset_suffix(results)} (%)"


def _draw_points(axes: Axes, points: Sequence[MethodPoint]) -> None:
    """Draw each point with its error bars; incomplete ones are hollow.

    A point below the axis limits becomes a triangle on the lower edge.
    """
    _set_limits(axes, points)
    low, _ = axes.get_ylim()
    for point in points:
        below = point.y < low
        colour = point.style.colour
        axes.errorbar(point.x, point.y, point.dy, point.dx, ecolor=(colour, 0.45), elinewidth=0.9)
        axes.plot(
            point.x,
            max(point.y, low),
            marker="v" if below else point.style.marker,
            color=colour,
            markerfacecolor=colour if point.complete else "white",
            markersize=2 * MARKER - 1,
            zorder=3,
            clip_on=False,
        )


def _set_limits(axes: Axes, points: Sequence[MethodPoint]) -> None:
    """Leave room for names; points far below the others do not set the axis."""
    if not points:
        return
    ys = [point.y for point in points]
    low = robust_limits(ys)[0] if len(ys) > 1 else ys[0]
    inside = [point for point in points if point.y >= low]
    axes.set_xlim(_limits([point.x for point in points], [point.dx for point in points]))
    axes.set_ylim(_limits([point.y for point in inside], [point.dy for point in inside]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _limits(means: Sequence[float], spreads: Sequence[float]) -> tuple[float, float]:
    """Return limits that hold error bars, or part of those much longer than the means' range."""
    extent = (max(means) - min(means)) or 0.01 * abs(means[0]) or 1.0
    bars = [min(spread, extent) if spread > 0 else 0.0 for spread in spreads]
    low = min(mean - bar for mean, bar in zip(means, bars, strict=True))
    high = max(mean + bar for mean, bar in zip(means, bars, strict=True))
    margin = 0.1 * max(high - low, extent)
    return low - margin, high + margin


def _draw_front(axes: Axes, front: Sequence[MethodPoint]) -> None:
    """Draw the Pareto front as steps, level from its last point to the right edge."""
    if front:
        right = axes.get_xlim()[1]
        xs, ys = [*(p.x for p in front), right], [*(p.y for p in front), front[-1].y]
        axes.step(xs, ys, where="post", scalex=False, scaley=False, **FRONT)


def _write_names(
    axes: Axes, points: Sequence[MethodPoint], front: Sequence[MethodPoint], size: float
) -> None:
    """Write names beside their points; one below the axis limits comes with its value."""
    low, _ = axes.get_ylim()
    named = points
    if len(points) > MAX_NAMES:
        named = [point for point in points if point in front or point.name in REFERENCES]
    texts = []
    for point in named:
        name = shorten(point.name)
        words = f"{name} ▾ {point.y:.1f}" if point.y < low else name
        text = axes.text(point.x, max(point.y, low), words, fontsize=size, color=INK, zorder=5)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        texts.append(text)
    if texts:
        adjust_text(
            texts,
            objects=_marker_boxes(axes, points),
            ax=axes,
            iter_lim=500,  # without it there is a limit of time, and pictures would differ
            expand=(1.05, 1.25),
            force_text=(0.2, 0.4),
            force_static=(0.2, 0.4),
            min_arrow_len=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5},
        )


def _marker_boxes(axes: Axes, points: Sequence[MethodPoint]) -> list[Bbox]:
    """Return the boxes of markers and of vertical error bars, in data coordinates."""
    low, _ = axes.get_ylim()
    reach = MARKER * axes.figure.dpi / 72
    back = axes.transData.inverted()
    boxes = []
    for point in points:
        at = axes.transData.transform((point.x, max(point.y, low)))
        boxes.append(Bbox(back.transform([at - reach, at + reach])))
    return boxes


def _add_legend(
    figure: Figure,
    panels: Sequence[tuple[int | None, Measure]],
    points: Sequence[Sequence[MethodPoint]],
) -> None:
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
