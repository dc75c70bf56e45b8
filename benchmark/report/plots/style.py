"""What all pictures share: the style, the course of a training, words and legend."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, quantiles
from typing import Any, NamedTuple

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from benchmark.report.results.outcomes import LR_DROP_FACTOR, MAX_LR_DROPS, Outcome, Results
from benchmark.report.tables.layout import pair_heading
from benchmark.store.manifest import ManifestColumn
from benchmark.store.record import Epoch

MANY = 10  # with more methods one panel cannot hold their lines, and rows come closer
GREY = "0.45"
INK = "0.15"
TINT = "0.955"  # the ground of every other row, and of what is magnified
NUMBERS = 6.5  # points: what is written small
DASHES: tuple[float, tuple[float, ...]] = (0, (2, 1.5))
DROP: dict[str, Any] = {"color": "0.6", "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1}
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


class TrainingCurve(NamedTuple):
    """Test top-1 in percent after each epoch: mean and range over the seeds that are done."""

    mean: list[float]
    low: list[float]
    high: list[float]
    initialising: int  # epochs before the method's last phase


def training_curve(outcomes: Iterable[Outcome]) -> TrainingCurve | None:
    """The course of one method on one pair; None where no seed is done."""
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    if not records:
        return None
    seeds = list(zip(*([epoch.top1 for epoch in r.history] for r in records), strict=False))
    means = [fmean(values) for values in seeds]
    low, high = [min(values) for values in seeds], [max(values) for values in seeds]
    return TrainingCurve(means, low, high, records[0].initialising())


def drops(history: Sequence[Epoch]) -> tuple[int, ...]:
    """The epochs after which the learning rate drops; none where it falls all the time."""
    found = tuple(
        now.epoch
        for now, after in pairwise(history)
        if now.phase == after.phase and now.lr and after.lr and now.lr > LR_DROP_FACTOR * after.lr
    )
    return found if len(found) <= MAX_LR_DROPS else ()


def shared_drops(results: Results, column: int) -> tuple[int, ...]:
    """The drops that most methods have on a pair: a phase that initialises may have its own."""
    cells = [results.students[column, name] for name in results.manifest.methods]
    firsts = [next((o.record for o in cell if o.record), None) for cell in cells]
    found = Counter(drops(record.history) for record in firsts if record is not None)
    return found.most_common(1)[0][0] if found else ()


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


def width(words: str, size: float) -> float:
    """Of a line of words, in inches."""
    across, *_ = text_to_path.get_text_width_height_descent(words, FontProperties(size=size), False)
    return float(across) / 72


def cut(name: str, size: float, widest: float) -> str:
    """A name in one line, cut where it is too wide."""
    fit = flat = " ".join(name.split())
    while width(fit, size) > widest:
        flat = flat[:-1]
        fit = f"{flat}…"
    return fit


def heading(column: ManifestColumn, with_dataset: bool, letters: int) -> str:
    """A pair in lines of so many letters; of few, so that teachers and students stand in line."""
    teacher, student = pair_heading(column, with_dataset)
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
