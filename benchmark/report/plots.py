"""The pictures: accuracy with every seed's point, and training curves; no display, no pyplot."""

import math
import textwrap
from io import BytesIO
from statistics import fmean, stdev
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report.layout import pair
from benchmark.report.palette import Look, looks
from benchmark.report.records import Outcome, Record, Results
from benchmark.report.table import by_seed

A_ROW = 3  # panels beside each other
DPI = 200
KINDS: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
_GREY = "0.45"
_SCRATCH: dict[str, Any] = {"linewidth": 1.0, "linestyle": "-"}
_TEACHER: dict[str, Any] = {"linewidth": 1.2, "linestyle": "--"}
_DASHES = (0, (2, 1.5))
_STYLE = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.titlesize": 9,
    "grid.color": "0.92",
    "font.family": ["DejaVu Sans"],  # matplotlib brings it along: one picture on all machines
    "text.usetex": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "pdf.fonttype": 42,  # text stays text, and journals refuse type 3
}


@mpl.rc_context(_STYLE)
def accuracy(results: Results) -> Figure:
    """Last-epoch test top-1: every seed's point, mean and sample std; a panel for each pair."""
    methods = results.manifest.methods
    label = f"test top-1{_on(results)}, last epoch (%)"
    figure, stacks = _panels(results, [0.7 + 0.36 * len(methods)], label, [""], share_y=True)
    for index, (axes,) in enumerate(stacks):
        for place, (name, look) in enumerate(looks(methods).items()):
            _method(axes, place, look, results.students[index, name])
        _reference(axes, results.students.get((index, "scratch"), ()), _SCRATCH)
        _reference(axes, (results.teachers[index],), _TEACHER)
        axes.set_yticks(range(len(methods)), [_short(name) for name in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    handles: dict[str, Artist] = {
        "one seed": Line2D([], [], color=_GREY, marker="o", markersize=4, linestyle="", alpha=0.6),
        "mean ± std": Line2D([], [], color=_GREY, marker="s", markersize=5, linewidth=1.4),
        "scratch, mean": Line2D([], [], color=_GREY, **_SCRATCH),
        "teacher": Line2D([], [], color=_GREY, **_TEACHER),
    }
    _legend(figure, handles)
    return figure


@mpl.rc_context(_STYLE)
def curves(results: Results) -> Figure:
    """Test top-1 over the epochs, mean and range over seeds; below each panel its last quarter.

    The part of a line before the method's last phase, where it initialises, is dashed.
    """
    shown = looks(results.manifest.methods)
    labels = [f"test top-1{_on(results)} (%)", "last quarter (%)"]
    figure, stacks = _panels(results, [2.3, 1.6], "epoch", labels, share_y=False)
    for index, (whole, end) in enumerate(stacks):
        for place, (name, look) in enumerate(shown.items()):
            records = [o.record for o in results.students[index, name] if o.record is not None]
            _curve(whole, look, records, place, since=0.0)
            _curve(end, look, records, place, since=0.75)
    handles: dict[str, Artist] = {
        _short(name): Line2D([], [], color=look.colour, marker=look.marker, markersize=4)
        for name, look in shown.items()
    }
    handles["initialising phase"] = Line2D([], [], color=_GREY, linestyle=_DASHES, linewidth=1.4)
    handles["range over seeds"] = Patch(color=_GREY, alpha=0.2, linewidth=0)
    _legend(figure, handles)
    return figure


@mpl.rc_context(_STYLE)
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
    columns = results.manifest.columns
    across = min(A_ROW, len(columns))
    down = math.ceil(len(columns) / across)
    width = 5.5 if across == 1 else 3.1 * across
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
        stack[0].set_title(textwrap.fill(title, 30 if across > 1 else 56))
        if index + across >= len(columns):
            stack[-1].set_xlabel(below)
        if index % across == 0:
            for axes, label in zip(stack, beside, strict=True):
                axes.set_ylabel(label)
    return figure, stacks[: len(columns)]


def _method(axes: Axes, place: int, look: Look, outcomes: tuple[Outcome, ...]) -> None:
    """One method's line in an accuracy panel: mean with error bar, the seeds' points below it."""
    values = list(by_seed(outcomes).values())
    if not values:
        applicable = any(outcome.state != "not applicable" for outcome in outcomes)
        words = f"0/{len(outcomes)} seeds done" if applicable else "not applicable"
        across = axes.get_yaxis_transform()
        axes.text(0.5, place, words, transform=across, ha="center", va="center", color=_GREY)
        return
    spread = stdev(values) if len(values) > 1 else None
    axes.errorbar(
        fmean(values),
        place - 0.1,
        xerr=spread,
        color=look.colour,
        marker=look.marker,
        markersize=6,
        linewidth=1.4,
        capsize=2.5,
        zorder=3,
    )
    below = [place + 0.18] * len(values)
    axes.plot(values, below, "o", color=look.colour, markersize=3.5, alpha=0.6, mew=0, zorder=3)


def _reference(axes: Axes, outcomes: tuple[Outcome, ...], style: dict[str, Any]) -> None:
    values = by_seed(outcomes).values()
    if values:
        axes.axvline(fmean(values), color=_GREY, zorder=1, **style)


def _curve(axes: Axes, look: Look, records: list[Record], place: int, since: float) -> None:
    """One method's line from the fraction `since` of its epochs on; `place` staggers markers."""
    if not records:
        return
    seeds = list(zip(*([epoch.top1 for epoch in r.history] for r in records), strict=False))
    first = int(since * len(seeds))
    start = max(records[0].initialising(), first)
    epochs = range(1, len(seeds) + 1)
    means = [fmean(values) for values in seeds]
    low, high = [min(values) for values in seeds], [max(values) for values in seeds]
    style: dict[str, Any] = {"color": look.colour, "linewidth": 1.4}
    axes.fill_between(
        epochs[first:], low[first:], high[first:], color=look.colour, alpha=0.18, linewidth=0
    )
    # One epoch further than the phase, so that the line is whole.
    dashed = slice(first, start + 1)
    axes.plot(epochs[dashed], means[dashed], linestyle=_DASHES, alpha=0.8, **style)
    step = max(1, (len(seeds) - first) // 6)
    marks: dict[str, Any] = {
        "marker": look.marker,
        "markersize": 4,
        "markevery": (place % step, step),
    }
    axes.plot(epochs[start:], means[start:], **marks, **style)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _legend(figure: Figure, handles: dict[str, Artist]) -> None:
    """Below the panels, where it hides nothing, in rows of equal length."""
    fit = 4 if figure.get_figwidth() < 7 else 6
    rows = math.ceil(len(handles) / fit)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=math.ceil(len(handles) / rows),
        frameon=False,
    )


def _short(name: str) -> str:
    flat = " ".join(name.split())
    return flat if len(flat) <= 20 else f"{flat[:19]}…"


def _on(results: Results) -> str:
    """The data set for an axis label; where there are several, the titles say it."""
    names = {column.dataset for column in results.manifest.columns}
    return f" on {_short(names.pop())}" if len(names) == 1 else ""
