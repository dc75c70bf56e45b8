"""What all pictures share: matplotlib settings, the grid of panels, titles and the legend."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import quantiles
from typing import Any, Concatenate, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.report.plots.text import escape, find_fonts, shorten, text_width, wrap
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.tables.layout import pair_heading

T = TypeVar("T")
P = ParamSpec("P")

MAX_PANELS = 12  # in one picture
MAX_LINES = 10  # more lines than this in one panel cannot be told apart
GREY = "0.45"
INK = "0.15"
TINT = "0.955"  # background of every other row
SMALL = 7  # points
TITLE = 9  # points
LABEL = 9.6  # points
DASHES: tuple[float, tuple[float, ...]] = (0, (2, 1.5))
DROP: dict[str, Any] = {"color": "0.6", "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1}
STYLE = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.titlesize": TITLE,
    "legend.fontsize": 8,
    "legend.columnspacing": 1.6,
    "figure.titlesize": 9.6,
    "figure.labelsize": 9.6,
    "grid.color": "0.92",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "text.usetex": False,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "figure.constrained_layout.h_pad": 0.09,
    "figure.constrained_layout.w_pad": 0.1,
    "pdf.fonttype": 42,  # TrueType: text can be selected, and publishers reject type 3
}


def styled(
    draw: Callable[Concatenate[Results, P], Figure],
) -> Callable[Concatenate[Results, P], Figure]:
    """Make a function draw in `STYLE`, with fonts for the characters of the results' names."""

    @functools.wraps(draw)
    def draw_styled(results: Results, *args: P.args, **kwargs: P.kwargs) -> Figure:
        fonts = find_fonts(frozenset("".join(_names(results))))
        with mpl.rc_context({**STYLE, "font.family": [*STYLE["font.family"], *fonts]}):
            return draw(results, *args, **kwargs)

    return draw_styled  # type: ignore[return-value]


def _names(results: Results) -> set[str]:
    """Return all names that a picture can contain."""
    grid = results.manifest
    names = {*grid.methods, grid.measure}
    for column in grid.columns:
        names |= {*pair_heading(column, True), column.dataset}
    for outcomes in results.students.values():
        first = next((outcome.record for outcome in outcomes if outcome.record), None)
        for epoch in first.history if first else ():
            names.update(epoch.losses)
    return names


def panel_grid(
    count: int, max_across: int, widths: Sequence[float], heights: Sequence[float], left: float = 0
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and the axes of each of its `count` panels.

    A panel is a block of axes, one for each of `heights` by one for each of `widths` (inches).
    Rows have at most `max_across` panels and are of equal length, but for the last. `left` is the
    extra width for labels on the left of the first panels.
    """
    down = math.ceil(count / max_across)
    across = math.ceil(count / down)
    size = (max(5.5, left + sum(widths) * across), sum(heights) * down + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        down * len(heights),
        across * len(widths),
        squeeze=False,
        width_ratios=[*widths] * across,
        height_ratios=[*heights] * down,
    )
    rows = np.split(grid, down)
    panels = [list(block.flat) for row in rows for block in np.split(row, across, axis=1)]
    for axes in (axes for panel in panels[count:] for axes in panel):
        axes.remove()
    return figure, panels[:count]


def split_into_pages(items: Sequence[T], at_most: int = MAX_PANELS) -> list[Sequence[T]]:
    """Split items into as few pages as possible, of nearly equal length."""
    pages = math.ceil(len(items) / at_most)
    bounds = [round(page * len(items) / pages) for page in range(pages + 1)]
    return [items[first:last] for first, last in pairwise(bounds)]


def is_leftmost(axes: Axes) -> bool:
    """Whether axes are in the first column of their figure."""
    return bool(axes.get_subplotspec().is_first_col())  # type: ignore[union-attr]


def label_below(panels: Sequence[Sequence[Axes]], label: str) -> None:
    """Label the x axes of the lowest row of panels, once and below its middle.

    `Figure.supxlabel` would be written over the legend.
    """
    every = [axes for panel in panels for axes in panel]
    rows = [axes.get_subplotspec().rowspan.stop for axes in every]  # type: ignore[union-attr]
    bottom = [axes for axes, row in zip(every, rows, strict=True) if row == max(rows)]
    bottom[(len(bottom) - 1) // 2].set_xlabel(label, x=0.5 if len(bottom) % 2 else 1.05)


def freeze_layout(figure: Figure) -> None:
    """Run the constrained layout now, instead of once for each file format."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")


def add_legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """Add a legend below the panels, with as many columns as the figure's width can hold."""
    widths = [0.55 + text_width(label, 8) for label in handles]  # a handle and its gaps: 0.55
    for columns in range(min(6, len(widths)), 0, -1):
        rows = math.ceil(len(widths) / columns)
        widest = [max(widths[start : start + rows]) for start in range(0, len(widths), rows)]
        if sum(widest) < figure.get_figwidth() - 0.2:
            break
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=math.ceil(len(widths) / rows),
        frameon=False,
    )


def robust_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return axis limits that leave out values far below the others.

    Far below means beyond Tukey's outer fence (three interquartile ranges below the first
    quartile) and more than one unit below that quartile.
    """
    fence = -math.inf
    if len(values) > 1:
        below, _, above = quantiles(values, n=4, method="inclusive")
        fence = below - max(1.0, 3 * (above - below))
    low, high = min(value for value in values if value >= fence), max(values)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def missing_reason(outcomes: Sequence[Outcome]) -> str:
    """Return why seeds of a method are missing; empty if all of its seeds are finished."""
    done = sum(outcome.record is not None for outcome in outcomes)
    if done == len(outcomes):
        return ""
    applicable = any(outcome.state != "not applicable" for outcome in outcomes)
    return f"{done}/{len(outcomes)} seeds done" if applicable else "not applicable"


def pair_title(results: Results, column: int, width: float) -> str:
    """Return a pair's title in lines of at most `width` inches.

    Teacher and student are on lines of their own if they do not fit on one.
    """
    columns = results.manifest.columns
    teacher, student = pair_heading(columns[column], len({one.dataset for one in columns}) > 1)
    lines = [escape(f"{teacher} → {student}")]
    if text_width(lines[0], TITLE) > width:
        lines = [escape(f"{teacher} →"), escape(student)]
    return "\n".join(wrap(line, width, TITLE) for line in lines)


def dataset_suffix(results: Results) -> str:
    """Return " on DATASET" for an axis label; empty with several data sets: titles name them."""
    names = {column.dataset for column in results.manifest.columns}
    return f" on {shorten(names.pop(), 1.5, TITLE)}" if len(names) == 1 else ""
