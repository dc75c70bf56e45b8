"""Last-epoch accuracy: a row for each method with every seed's point, the mean and its spread."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.style import (
    GREY,
    MANY_METHODS,
    MAX_PANELS,
    SMALL,
    STYLE,
    TINT,
    add_legend,
    dataset_suffix,
    freeze_layout,
    label_below,
    missing_reason,
    pair_title,
    panel_grid,
    robust_limits,
    shorten,
    split_into_pages,
)
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics.analysis import by_seed

MAX_ROWS = 40  # of methods below each other in one picture
SCRATCH: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": "-"}
TEACHER: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": "--"}


def draw(results: Results) -> Iterator[Figure]:
    """Yield pictures of last-epoch top-1: seeds, mean and sample std; a panel for each pair.

    With more than `MANY_METHODS` methods rows are dense and banded, and seeds far below the others
    are printed as numbers at the panel's edge, so that they do not set the axis.
    """
    columns = range(len(results.manifest.columns))
    most = MAX_PANELS
    if (methods := len(results.manifest.methods)) > MANY_METHODS:
        most = min(MAX_PANELS, 6 * max(1, MAX_ROWS // methods))
    for page in split_into_pages(columns, most):
        with mpl.rc_context(STYLE):
            yield _draw_page(results, page)


def _draw_page(results: Results, columns: Sequence[int]) -> Figure:
    methods = results.manifest.methods
    dense = len(methods) > MANY_METHODS
    height = [0.7 + (0.22 if dense else 0.36) * len(methods)]
    figure, panels = panel_grid(len(columns), *((6, [1.7]) if dense else (3, [3.1])), height)
    for column, (axes,) in zip(columns, panels, strict=True):
        outer = axes.get_subplotspec().is_first_col()  # type: ignore[union-attr]
        rows = range(len(methods)) if outer or not dense else ()
        axes.set_yticks(rows, [shorten(methods[row]) if outer else "" for row in rows])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        single = len(columns) == 1
        axes.set_title(pair_title(results, column, 56 if single else 20 if dense else 30))
        if dense:
            _set_dense_rows(axes, results, column)
        _draw_rows(axes, results, column)
        _draw_reference(axes, results.students.get((column, "scratch"), ()), SCRATCH)
        _draw_reference(axes, (results.teachers[column],), TEACHER)
        axes.xaxis.set_major_locator(MaxNLocator(4 if dense else 5, steps=[1, 2, 5, 10]))
    label_below(panels, f"{results.manifest.measure}{dataset_suffix(results)}, last epoch (%)")
    handles: dict[str, Artist] = {
        "one seed": Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="", alpha=0.6),
        "mean ± std": Line2D([], [], color=GREY, marker="s", markersize=5, linewidth=1.4),
        "scratch, mean": Line2D([], [], **SCRATCH),
        "teacher": Line2D([], [], **TEACHER),
    }
    add_legend(figure, handles)
    freeze_layout(figure)
    return figure


def _draw_rows(axes: Axes, results: Results, column: int) -> None:
    """Draw all rows; methods of one style are drawn at once, since there may be hundreds."""
    dense = len(results.manifest.methods) > MANY_METHODS
    rows_by_style: dict[MethodStyle, dict[int, list[float]]] = {}
    for row, (name, style) in enumerate(method_styles(results.manifest.methods).items()):
        outcomes = results.students[column, name]
        if values := list(by_seed(outcomes).values()):
            rows_by_style.setdefault(style, {})[row] = values
        else:
            _write(axes, 0.5, row, missing_reason(outcomes), "center")
    for style, rows in rows_by_style.items():
        _draw_points(axes, style, rows, 4.5 if dense else 6)


def _draw_points(
    axes: Axes, style: MethodStyle, rows: Mapping[int, Sequence[float]], size: float
) -> None:
    """Draw means with error bars, and below them the points of the seeds."""
    axes.errorbar(
        [fmean(values) for values in rows.values()],
        [row - 0.1 for row in rows],
        xerr=[stdev(values) if len(values) > 1 else np.nan for values in rows.values()],
        color=style.colour,
        marker=style.marker,
        markersize=size,
        linestyle="",
        elinewidth=1.4,
        capsize=2.5,
        zorder=3,
    )
    seeds = list(itertools.chain(*rows.values()))
    below = [row + 0.18 for row, values in rows.items() for _ in values]
    axes.plot(
        seeds, below, "o", color=style.colour, markersize=0.58 * size, alpha=0.6, mew=0, zorder=3
    )


def _draw_reference(axes: Axes, outcomes: tuple[Outcome, ...], line: dict[str, Any]) -> None:
    if values := by_seed(outcomes).values():
        axes.axvline(fmean(values), zorder=1, **line)


def _set_dense_rows(axes: Axes, results: Results, column: int) -> None:
    """Band the rows, and set limits that leave out seeds far below the others."""
    methods = results.manifest.methods
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row in range(0, len(methods), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=TINT, linewidth=0, zorder=0)
    rows = [sorted(by_seed(results.students[column, name]).values()) for name in methods]
    values = [*by_seed((results.teachers[column],)).values(), *itertools.chain(*rows)]
    if len(values) < 2:
        return
    low, high = robust_limits(values)
    axes.set_xlim(low, high)
    for row, seeds in enumerate(rows):
        if beyond := [f"{value:.1f}" for value in seeds if value < low]:
            _write(axes, 0.01, row, f"◂ {', '.join(beyond)}", "left")


def _write(axes: Axes, x: float, row: int, words: str, align: str) -> None:
    """Write in a row at the fraction `x` of the panel's width, on the row's own background."""
    background = "white" if row % 2 or axes.yaxis.get_gridlines()[0].get_visible() else TINT
    axes.text(
        x,
        row,
        words,
        ha=align,
        va="center",
        color=GREY,
        fontsize=SMALL,
        transform=axes.get_yaxis_transform(),
        bbox={"facecolor": background, "linewidth": 0, "pad": 1},
    )
