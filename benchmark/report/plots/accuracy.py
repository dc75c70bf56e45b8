"""Last-epoch accuracy: a row for each method with every seed's point, the mean and its spread."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.style import (
    GREY,
    MAX_LINES,
    MAX_PANELS,
    SMALL,
    TINT,
    add_legend,
    dataset_suffix,
    freeze_layout,
    is_leftmost,
    label_below,
    missing_reason,
    pair_title,
    panel_grid,
    robust_limits,
    split_into_pages,
    styled,
)
from benchmark.report.plots.text import shorten
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics.analysis import top1_by_seed

MAX_ROWS = 40  # methods below each other in one picture
SCRATCH: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": "-"}
TEACHER: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": "--"}


def draw(results: Results) -> Iterator[Figure]:
    """Yield pictures of last-epoch top-1: seeds, mean and sample std; a panel for each pair.

    With more than `MAX_LINES` methods rows are dense and banded, and seeds far below the others
    are printed as numbers at the panel's edge, so that they do not set the axis.
    """
    dense = len(results.manifest.methods) > MAX_LINES
    most = MAX_PANELS // 2 if dense else MAX_PANELS
    for columns in split_into_pages(range(len(results.manifest.columns)), most):
        for methods in split_into_pages(results.manifest.methods, MAX_ROWS):
            yield _draw_page(results, columns, methods)


@styled
def _draw_page(results: Results, columns: Sequence[int], methods: Sequence[str]) -> Figure:
    dense = len(results.manifest.methods) > MAX_LINES
    across, width, row = (6, 1.7, 0.22) if dense else (3, 3.1, 0.36)
    figure, panels = panel_grid(len(columns), across, [width], [0.7 + row * len(methods)], left=0.6)
    for column, (axes,) in zip(columns, panels, strict=True):
        axes.set_title(pair_title(results, column, 5 if len(columns) == 1 else width - 0.6))
        rows = range(len(methods)) if is_leftmost(axes) or not dense else ()
        names = [shorten(methods[row], 1.5, 9) if is_leftmost(axes) else "" for row in rows]
        axes.set_yticks(rows, names)
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(3 if dense else 5, steps=[1, 2, 5, 10]))
        if dense:
            _set_dense_rows(axes, results, column, methods)
        _draw_rows(axes, results, column, methods)
        _draw_reference(axes, results.students.get((column, "scratch"), ()), SCRATCH)
        _draw_reference(axes, (results.teachers[column],), TEACHER)
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


def _draw_rows(axes: Axes, results: Results, column: int, methods: Sequence[str]) -> None:
    """Draw all rows, those of methods with one style at once."""
    styles = method_styles(results.manifest.methods)
    rows_by_style: dict[MethodStyle, dict[int, list[float]]] = {}
    for row, name in enumerate(methods):
        style, outcomes = styles[name], results.students[column, name]
        if values := list(top1_by_seed(outcomes).values()):
            rows_by_style.setdefault(style, {})[row] = values
        else:
            _write(axes, 0.5, row, missing_reason(outcomes), "center")
    for style, rows in rows_by_style.items():
        _draw_points(axes, style, rows, 4.5 if len(styles) > MAX_LINES else 6)


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
    if values := top1_by_seed(outcomes).values():
        axes.axvline(fmean(values), zorder=1, **line)


def _set_dense_rows(axes: Axes, results: Results, column: int, methods: Sequence[str]) -> None:
    """Band the rows, and set limits that leave out seeds far below the others."""
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row in range(0, len(methods), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=TINT, linewidth=0, zorder=0)
    tops = {
        name: sorted(top1_by_seed(results.students[column, name]).values())
        for name in results.manifest.methods
    }
    teacher = top1_by_seed((results.teachers[column],)).values()
    values = [*teacher, *itertools.chain(*tops.values())]
    if not values:
        return
    low, high = robust_limits(values)
    axes.set_xlim(low, high)
    for row, name in enumerate(methods):
        if beyond := [f"{value:.1f}" for value in tops[name] if value < low]:
            _write(axes, 0.01, row, f"◂ {', '.join(beyond)}", "left")


def _write(axes: Axes, x: float, row: int, words: str, align: str) -> None:
    """Write in a row at the fraction `x` of the panel's width, on the row's own background."""
    banded = bool(axes.patches)
    background = TINT if banded and row % 2 == 0 else "white"
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
