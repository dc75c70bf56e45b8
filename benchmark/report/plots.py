"""The pictures: accuracy with every seed's point, and training curves; no display, no pyplot."""

import math
import textwrap
from io import BytesIO
from statistics import fmean, stdev
from typing import Any, Literal

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
from benchmark.report.layout import pair
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


@mpl.rc_context(STYLE)
def accuracy(results: Results) -> Figure:
    """Last-epoch test top-1: every seed's point, mean and sample std; a panel for each pair.

    Many rows stand closer, on banded ground, and all pairs beside each other, so that a row can be
    followed; there a value far below the others is said at the edge, not allowed to squash them.
    """
    methods = results.manifest.methods
    many = len(methods) > MANY
    label = f"test top-1{on(results)}, last epoch (%)"
    height = 0.7 + (0.22 if many else 0.36) * len(methods)
    figure, stacks = _panels(results, [height], label, [""], share_y=True)
    for index, (axes,) in enumerate(stacks):
        for place, (name, look) in enumerate(looks(methods).items()):
            _method(axes, place, look, results.students[index, name], size=4.5 if many else 6)
        _reference(axes, results.students.get((index, "scratch"), ()), _SCRATCH)
        _reference(axes, (results.teachers[index],), _TEACHER)
        axes.set_yticks(range(len(methods)), [short(name) for name in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if many:
            _close(axes, results, index)
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
    labels = [f"test top-1{on(results)} (%)", "last quarter (%)"]
    figure, stacks = _panels(results, [2.3, 1.6], "epoch", labels, share_y=False)
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
    results: Results, heights: list[float], below: str, beside: list[str], share_y: bool
) -> tuple[Figure, list[list[Axes]]]:
    """For each pair a stack of panels of these heights in inches; outer ones have axis labels."""
    columns, many = results.manifest.columns, len(results.manifest.methods) > MANY
    across = min(6 if many else 3, len(columns))
    down = math.ceil(len(columns) / across)
    width = 5.5 if across == 1 else 1.2 + 1.55 * across if many else 3.1 * across
    figure = Figure(figsize=(width, sum(heights) * down + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    shape = (down * len(heights), across)
    grid = figure.subplots(*shape, squeeze=False, sharey=share_y, height_ratios=heights * down)
    stacks = [list(column) for row in np.split(grid, down) for column in row.T]
    for axes in (axes for stack in stacks[len(columns) :] for axes in stack):
        axes.remove()
    several = len({column.dataset for column in columns}) > 1
    for index, (column, stack) in enumerate(zip(columns, stacks, strict=False)):
        title = " → ".join(pair(column, several))
        stack[0].set_title(textwrap.fill(title, 56 if across == 1 else 17 if many else 30))
        if index + across >= len(columns):
            stack[-1].set_xlabel(below)
        if index % across == 0:
            for axes, label in zip(stack, beside, strict=True):
                axes.set_ylabel(label)
    return figure, stacks[: len(columns)]


def _method(axes: Axes, place: int, look: Look, outcomes: tuple[Outcome, ...], size: float) -> None:
    """One method's line in an accuracy panel: mean with error bar, the seeds' points below it."""
    values = list(by_seed(outcomes).values())
    if not values:
        across = axes.get_yaxis_transform()
        centred: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY}
        axes.text(0.5, place, absence(outcomes), transform=across, **centred)
        return
    spread = stdev(values) if len(values) > 1 else None
    axes.errorbar(
        fmean(values),
        place - 0.1,
        xerr=spread,
        color=look.colour,
        marker=look.marker,
        markersize=size,
        linewidth=1.4,
        capsize=2.5,
        zorder=3,
    )
    below, points = [place + 0.18] * len(values), {"markersize": 0.58 * size, "mew": 0}
    axes.plot(values, below, "o", color=look.colour, alpha=0.6, zorder=3, **points)


def _reference(axes: Axes, outcomes: tuple[Outcome, ...], style: dict[str, Any]) -> None:
    values = by_seed(outcomes).values()
    if values:
        axes.axvline(fmean(values), color=GREY, zorder=1, **style)


def _close(axes: Axes, results: Results, index: int) -> None:
    """What lets many rows stand close: bands in place of lines, and limits that hold most."""
    methods = results.manifest.methods
    axes.grid(visible=False, axis="y")
    for place in range(0, len(methods), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=TINT, linewidth=0, zorder=0)
    rows = [list(by_seed(results.students[index, name]).values()) for name in methods]
    teacher = by_seed((results.teachers[index],)).values()
    values = [*teacher, *(value for row in rows for value in row)]
    if len(values) < 2:
        return
    axes.set_xlim(window(values))
    for place, row in enumerate(rows):
        beyond = [f"{value:.1f}" for value in sorted(row) if value < axes.get_xlim()[0]]
        if beyond:
            text = f"◂ {' to '.join(dict.fromkeys((beyond[0], beyond[-1])))}"
            edge: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(0.01, place, text, color=GREY, fontsize=multiples.NUMBERS, **edge)


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
