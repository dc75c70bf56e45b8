"""The pictures: accuracy with every seed's point, and training curves; no display, no pyplot."""

import itertools
import math
from io import BytesIO
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report import multiples
from benchmark.report.palette import Look, looks
from benchmark.report.records import Outcome, Results
from benchmark.report.style import (
    DASHES,
    GREY,
    MANY,
    STYLE,
    TINT,
    absence,
    course,
    heading,
    legend,
    on,
    short,
    trace,
    window,
)
from benchmark.report.table import by_seed

DPI = 200
KINDS: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
_SCRATCH: dict[str, Any] = {"linewidth": 1.0, "linestyle": "-"}
_TEACHER: dict[str, Any] = {"linewidth": 1.2, "linestyle": "--"}


class _Spacing(NamedTuple):
    """How close things stand; lengths in inches."""

    across: int  # panels beside each other
    panel: float  # a panel's width, where there are several
    left: float  # what names and labels take beside them
    letters: int  # in a heading's line, where there are several
    row: float  # an accuracy panel's row
    marker: float  # points
    words: float  # points


_ROOMY = _Spacing(3, 3.1, 0, 30, 0.36, 6, 9.6)
_DENSE = _Spacing(6, 1.55, 1.2, 20, 0.22, 4.5, 7)


@mpl.rc_context(STYLE)
def accuracy(results: Results) -> Figure:
    """Last-epoch test top-1: every seed's point, mean and sample std; a panel for each pair.

    Many rows stand closer, on banded ground, and up to six pairs beside each other, so that a row
    can be followed. There seeds far below all others are said in numbers at the edge.
    """
    methods = results.manifest.methods
    space = _DENSE if len(methods) > MANY else _ROOMY
    label = f"{results.manifest.measure}{on(results)}, last epoch (%)"
    figure, stacks = _panels(results, [0.7 + space.row * len(methods)], label, [""], space)
    for index, (axes,) in enumerate(stacks):
        axes.set_yticks(range(len(methods)), [short(name) for name in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        if space is _DENSE:
            _crowd(axes, results, index)
        for place, (name, look) in enumerate(looks(methods).items()):
            _method(axes, place, look, results.students[index, name], space)
        _reference(axes, results.students.get((index, "scratch"), ()), _SCRATCH)
        _reference(axes, (results.teachers[index],), _TEACHER)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    handles: dict[str, Artist] = {
        "one seed": Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="", alpha=0.6),
        "mean ± std": Line2D([], [], color=GREY, marker="s", markersize=5, linewidth=1.4),
        "scratch, mean": Line2D([], [], color=GREY, **_SCRATCH),
        "teacher": Line2D([], [], color=GREY, **_TEACHER),
    }
    legend(figure, handles)
    return figure


@mpl.rc_context(STYLE)
def curves(results: Results) -> Figure:
    """Test top-1 over the epochs, mean and range over seeds; below each panel its last quarter.

    The part of a line before the method's last phase, where it initialises, is dashed. Of more
    than ``MANY`` methods each has a panel of its own.
    """
    shown = looks(results.manifest.methods)
    if len(shown) > MANY:
        return multiples.draw(results)
    labels = [f"{results.manifest.measure}{on(results)} (%)", "last quarter (%)"]
    figure, stacks = _panels(results, [2.3, 1.6], "epoch", labels, _ROOMY)
    for index, (whole, end) in enumerate(stacks):
        for place, (name, look) in enumerate(shown.items()):
            _curve(whole, look, results.students[index, name], place, since=0.0)
            _curve(end, look, results.students[index, name], place, since=0.75)
    handles: dict[str, Artist] = {
        short(name): Line2D([], [], color=look.colour, marker=look.marker, markersize=4)
        for name, look in shown.items()
    }
    handles["initialising phase"] = Line2D([], [], color=GREY, linestyle=DASHES, linewidth=1.4)
    handles["range over seeds"] = Patch(color=GREY, alpha=0.2, linewidth=0)
    legend(figure, handles)
    return figure


@mpl.rc_context(STYLE)
def encode(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """The picture as a file's bytes: the same picture gives the same bytes, so it has no date."""
    buffer = BytesIO()
    undated = {"CreationDate": None} if kind == "pdf" else {}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=undated)
    return buffer.getvalue()


def _panels(
    results: Results, heights: list[float], below: str, beside: list[str], space: _Spacing
) -> tuple[Figure, list[list[Axes]]]:
    """For each pair a stack of panels of these heights in inches; outer ones have axis labels."""
    columns = results.manifest.columns
    across = min(space.across, len(columns))
    down = math.ceil(len(columns) / across)
    width = 5.5 if across == 1 else max(5.5, space.left + space.panel * across)
    figure = Figure(figsize=(width, sum(heights) * down + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    shape = (down * len(heights), across)
    alone = len(heights) == 1  # rows of names: all panels have the same
    grid = figure.subplots(*shape, squeeze=False, sharey=alone, height_ratios=heights * down)
    stacks = [list(column) for row in np.split(grid, down) for column in row.T]
    for axes in (axes for stack in stacks[len(columns) :] for axes in stack):
        axes.remove()
    several = len({column.dataset for column in columns}) > 1
    for index, (column, stack) in enumerate(zip(columns, stacks, strict=False)):
        stack[0].set_title(heading(column, several, space.letters if across > 1 else 56))
        if index + across >= len(columns) and space is _ROOMY:
            stack[-1].set_xlabel(below)
        if index % across == 0:
            for axes, label in zip(stack, beside, strict=True):
                axes.set_ylabel(label)
    if space is _DENSE:  # the label is wider than a panel, so there is one, below the middle
        bottom = stacks[(down - 1) * across : len(columns)]
        middle, odd = (len(bottom) - 1) // 2, len(bottom) % 2
        bottom[middle][-1].set_xlabel(below, x=0.5 if odd else 1.05)
    return figure, stacks[: len(columns)]


def _method(
    axes: Axes, place: int, look: Look, outcomes: tuple[Outcome, ...], space: _Spacing
) -> None:
    """One method's line in an accuracy panel: mean with error bar, the seeds' points below it."""
    values = list(by_seed(outcomes).values())
    if not values:
        _words(axes, 0.5, place, absence(outcomes), "center", space)
        return
    spread = stdev(values) if len(values) > 1 else None
    axes.errorbar(
        fmean(values),
        place - 0.1,
        xerr=spread,
        color=look.colour,
        marker=look.marker,
        markersize=space.marker,
        linewidth=1.4,
        capsize=2.5,
        zorder=3,
    )
    below, size = [place + 0.18] * len(values), 7 / 12 * space.marker
    axes.plot(values, below, "o", color=look.colour, markersize=size, alpha=0.6, mew=0, zorder=3)


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
    axes.set_xlim(window(values))
    for place, row in enumerate(rows):
        beyond = [f"{value:.1f}" for value in row if value < axes.get_xlim()[0]]
        if beyond:
            _words(axes, 0.01, place, f"◂ {', '.join(beyond)}", "left", _DENSE)


def _words(axes: Axes, x: float, place: int, words: str, side: str, space: _Spacing) -> None:
    """Words in an accuracy panel's row; lines do not run through them."""
    at: dict[str, Any] = {"ha": side, "va": "center", "transform": axes.get_yaxis_transform()}
    if space is _DENSE:
        ground = "white" if place % 2 else TINT
        at["bbox"] = {"facecolor": ground, "linewidth": 0, "pad": 1}
    axes.text(x, place, words, color=GREY, fontsize=space.words, **at)


def _curve(axes: Axes, look: Look, outcomes: tuple[Outcome, ...], place: int, since: float) -> None:
    """One method's line from the fraction `since` of its epochs on; `place` staggers markers."""
    shown = course(outcomes)
    if shown is None:
        return
    first = int(since * len(shown.mean))
    step = max(1, (len(shown.mean) - first) // 6)
    every = {"marker": look.marker, "markersize": 4, "markevery": (place % step, step)}
    trace(axes, shown, look.colour, first, 1.4, every)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
