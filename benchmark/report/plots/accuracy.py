"""Accuracy: every seed's point, mean and standard deviation, a line for each method."""

import itertools
from collections.abc import Mapping, Sequence
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
from benchmark.report.plots.panels import DENSE, ROOMY, Spacing, panels, settle
from benchmark.report.plots.style import (
    GREY,
    MANY,
    STYLE,
    TINT,
    add_legend,
    dataset_suffix,
    missing_reason,
    robust_limits,
    shorten,
)
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics.analysis import by_seed

_SCRATCH: dict[str, Any] = {"linewidth": 1.0, "linestyle": "-"}
_TEACHER: dict[str, Any] = {"linewidth": 1.2, "linestyle": "--"}


@mpl.rc_context(STYLE)
def draw(results: Results) -> Figure:
    """Last-epoch test top-1: every seed's point, mean and sample std; a panel for each pair.

    Many rows stand closer, on banded ground, and up to six pairs beside each other, so that a row
    can be followed. There seeds far below all others are said in numbers at the edge.
    """
    methods = results.manifest.methods
    space = DENSE if len(methods) > MANY else ROOMY
    label = f"{results.manifest.measure}{dataset_suffix(results)}, last epoch (%)"
    figure, stacks = panels(results, [0.7 + space.row * len(methods)], label, [""], space)
    for index, (axes,) in enumerate(stacks):
        outer = axes.get_subplotspec().is_first_col()  # type: ignore[union-attr]
        lines = range(len(methods)) if outer or space is ROOMY else ()  # ticks take long to make
        axes.set_yticks(lines, [shorten(methods[line]) if outer else "" for line in lines])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        if space is DENSE:
            _crowd(axes, results, index)
        _rows(
            axes, method_styles(methods), [results.students[index, name] for name in methods], space
        )
        _reference(axes, results.students.get((index, "scratch"), ()), _SCRATCH)
        _reference(axes, (results.teachers[index],), _TEACHER)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    handles: dict[str, Artist] = {
        "one seed": Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="", alpha=0.6),
        "mean ± std": Line2D([], [], color=GREY, marker="s", markersize=5, linewidth=1.4),
        "scratch, mean": Line2D([], [], color=GREY, **_SCRATCH),
        "teacher": Line2D([], [], color=GREY, **_TEACHER),
    }
    add_legend(figure, handles)
    settle(figure)
    return figure


def _rows(
    axes: Axes,
    shown: Mapping[str, MethodStyle],
    outcomes: Sequence[tuple[Outcome, ...]],
    space: Spacing,
) -> None:
    """Every method's line; those that look alike are drawn at once, for there may be hundreds."""
    alike: dict[MethodStyle, dict[int, list[float]]] = {}
    for place, (look, done) in enumerate(zip(shown.values(), outcomes, strict=True)):
        if values := list(by_seed(done).values()):
            alike.setdefault(look, {})[place] = values
        else:
            _words(axes, 0.5, place, missing_reason(done), "center", space)
    for look, lines in alike.items():
        _lines(axes, look, lines, space)


def _lines(
    axes: Axes, look: MethodStyle, lines: Mapping[int, Sequence[float]], space: Spacing
) -> None:
    """Means with error bars, the seeds' points below them."""
    axes.errorbar(
        [fmean(values) for values in lines.values()],
        [place - 0.1 for place in lines],
        xerr=[stdev(values) if len(values) > 1 else np.nan for values in lines.values()],
        color=look.colour,
        marker=look.marker,
        markersize=space.marker,
        linestyle="",
        elinewidth=1.4,
        capsize=2.5,
        zorder=3,
    )
    below = [place + 0.18 for place, values in lines.items() for _ in values]
    points = list(itertools.chain(*lines.values()))
    size = 7 / 12 * space.marker
    axes.plot(points, below, "o", color=look.colour, markersize=size, alpha=0.6, mew=0, zorder=3)


def _reference(axes: Axes, outcomes: tuple[Outcome, ...], style: dict[str, Any]) -> None:
    values = by_seed(outcomes).values()
    if values:
        axes.axvline(fmean(values), color=GREY, zorder=1, **style)


def _crowd(axes: Axes, results: Results, index: int) -> None:
    """What lets many rows stand close: bands in place of lines, and limits that hold most seeds."""
    methods = results.manifest.methods
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for place in range(0, len(methods), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=TINT, linewidth=0, zorder=0)
    rows = [sorted(by_seed(results.students[index, name]).values()) for name in methods]
    values = [*by_seed((results.teachers[index],)).values(), *itertools.chain(*rows)]
    if len(values) < 2:
        return
    axes.set_xlim(robust_limits(values))
    for place, row in enumerate(rows):
        beyond = [f"{value:.1f}" for value in row if value < axes.get_xlim()[0]]
        if beyond:
            _words(axes, 0.01, place, f"◂ {', '.join(beyond)}", "left", DENSE)


def _words(axes: Axes, x: float, place: int, words: str, side: str, space: Spacing) -> None:
    """Words in an accuracy panel's row; lines do not run through them."""
    at: dict[str, Any] = {"ha": side, "va": "center", "transform": axes.get_yaxis_transform()}
    if space is DENSE:
        ground = "white" if place % 2 else TINT
        at["bbox"] = {"facecolor": ground, "linewidth": 0, "pad": 1}
    axes.text(x, place, words, color=GREY, fontsize=space.words, **at)
