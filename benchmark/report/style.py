"""What all pictures share: the style, the drawing of a course of training, words and legend."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any, NamedTuple

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.layout import pair
from benchmark.report.records import Column, Outcome, Results

MANY = 10  # with more methods one panel cannot hold their lines, and rows come closer
GREY = "0.45"
INK = "0.15"
TINT = "0.955"  # the ground of every other row, and of what is magnified
NUMBERS = 6.5  # points: what is written small
DASHES = (0, (2, 1.5))
STYLE = {
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


class Course(NamedTuple):
    """Test top-1 in percent after each epoch: mean and range over the seeds that are done."""

    mean: list[float]
    low: list[float]
    high: list[float]
    initialising: int  # epochs before the method's last phase


def course(outcomes: Iterable[Outcome]) -> Course | None:
    """The course of one method on one pair; None where no seed is done."""
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    if not records:
        return None
    seeds = list(zip(*([epoch.top1 for epoch in r.history] for r in records), strict=False))
    means = [fmean(values) for values in seeds]
    low, high = [min(values) for values in seeds], [max(values) for values in seeds]
    return Course(means, low, high, records[0].initialising())


def trace(
    axes: Axes, shown: Course, colour: str, first: int, width: float, marks: Mapping[str, Any]
) -> None:
    """Draw a course after its first `first` epochs; what belongs to initialising is dashed."""
    start = max(shown.initialising, first)
    epochs = range(1, len(shown.mean) + 1)
    style: dict[str, Any] = {"color": colour, "linewidth": width}
    axes.fill_between(
        epochs[first:], shown.low[first:], shown.high[first:], color=colour, alpha=0.18, linewidth=0
    )
    # One epoch further than the phase, so that the line is whole.
    dashed = slice(first, start + 1)
    axes.plot(epochs[dashed], shown.mean[dashed], linestyle=DASHES, alpha=0.8, **style)
    axes.plot(epochs[start:], shown.mean[start:], **marks, **style)


def window(values: Sequence[float]) -> tuple[float, float]:
    """Limits that hold all values but those far below the others, which would squash them.

    Far is what lies beyond Tukey's outer fence, three interquartile ranges below the first
    quartile, and by more than a point.
    """
    below, _, above = quantiles(values, n=4, method="inclusive")
    fence = below - max(1.0, 3 * (above - below))
    low, high = min(value for value in values if value >= fence), max(values)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def absence(outcomes: Sequence[Outcome]) -> str:
    """What is said in the place of a method of which no seed is done."""
    applicable = any(outcome.state != "not applicable" for outcome in outcomes)
    return f"0/{len(outcomes)} seeds done" if applicable else "not applicable"


def short(name: str, most: int = 20) -> str:
    """A name in one line of at most so many letters."""
    flat = " ".join(name.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def heading(column: Column, with_dataset: bool, letters: int) -> str:
    """A pair in lines of so many letters; of few, so that teachers and students stand in line."""
    teacher, student = pair(column, with_dataset)
    if letters >= 30:
        return textwrap.fill(f"{teacher} → {student}", letters)
    return "\n".join(textwrap.fill(line, letters) for line in (f"{teacher} →", student))


def on(results: Results) -> str:
    """The data set for an axis label; where there are several, the titles say it."""
    names = {column.dataset for column in results.manifest.columns}
    return f" on {short(names.pop())}" if len(names) == 1 else ""


def legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """Below the panels, where it hides nothing, in rows of equal length."""
    fit = 4 if figure.get_figwidth() < 7 else 6
    rows = math.ceil(len(handles) / fit)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center" if figure.get_layout_engine() else "lower center",
        ncols=math.ceil(len(handles) / rows),
        frameon=False,
    )
