"""Training curves of many methods: small multiples, a panel for each method on each pair.

A panel has two halves: on the left the whole training, on the right, tinted, its last quarter
magnified. All left halves have the same axes, and so have all right halves of a pair; scratch and
kd are grey lines in every panel. One pair: panels stand like words on a page, each below its
method's name. Several: like the table, a line for each method and a column for each pair.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D, Transform

from benchmark.report.palette import looks
from benchmark.report.records import Outcome, Results
from benchmark.report.sheet import BETWEEN, SIDE, Sheet, lay
from benchmark.report.style import (
    DASHES,
    GREY,
    INK,
    NUMBERS,
    TINT,
    Course,
    absence,
    course,
    heading,
    legend,
    on,
    trace,
    window,
)

REFERENCES: Mapping[str, dict[str, Any]] = {
    "scratch": {"color": "0.5", "linewidth": 0.8, "linestyle": "-"},
    "kd": {"color": "0.5", "linewidth": 1.0, "linestyle": (0, (1, 1))},
}
_LINE = 1.1  # points
_NAME = 8  # points
_WIDEST = 1.36  # inches: a name
_FINE: dict[Any, Any] = {
    "axes.grid": False,  # levels are drawn instead: ticks take long to make, few panels need any
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "legend.columnspacing": 1.4,
    "legend.fontsize": 8,
    **{f"{axis}tick.labelsize": NUMBERS for axis in "xy"},
    **{f"{axis}tick.major.size": 2 for axis in "xy"},
    **{f"{axis}tick.major.width": 0.6 for axis in "xy"},
    **{f"{axis}tick.major.pad": 1.5 for axis in "xy"},
}

Courses = Mapping[tuple[int, str], Course | None]


class Limits(NamedTuple):
    """What the axes show: epochs, and top-1 in percent."""

    first: int  # epochs before the last quarter
    last: int
    whole: tuple[float, float]
    ends: Sequence[tuple[float, float]]  # one a pair


@mpl.rc_context(_FINE)
def draw(results: Results) -> Figure:
    """The picture; to be called with the style in force, and with at least one student done."""
    grid = results.manifest
    courses = {place: course(outcomes) for place, outcomes in results.students.items()}
    limits = _limits(courses, len(grid.columns))
    names, headings = [_cut(name) for name in grid.methods], _headings(results)
    lines = max(text.count("\n") for text in headings) + 1
    sheet = lay(len(names), len(headings), max(map(_width, names)), lines)
    figure = Figure(figsize=sheet.size)
    FigureCanvasAgg(figure)
    for row, (method, look) in enumerate(looks(grid.methods).items()):
        for column in range(len(grid.columns)):
            whole, end = _panel(figure, sheet, row, column, limits)
            _count(whole, results.students[column, method])
            if shown := courses[column, method]:
                others = {n: courses.get((column, n)) for n in REFERENCES if n != method}
                for axes, first in ((whole, 0), (end, limits.first)):
                    _ground(axes, others, first)
                    trace(axes, shown, look.colour, first, _LINE, {})
                _below(end, shown, look.colour)
    _name(figure, sheet, names)
    _head(figure, sheet, headings)
    _measure(figure, sheet, f"{grid.measure}{on(results)}")
    _explain(figure, [name for name in REFERENCES if name in grid.methods])
    return figure


def _limits(courses: Courses, pairs: int) -> Limits:
    known = [shown for shown in courses.values() if shown]
    first = 3 * min(len(shown.mean) for shown in known) // 4
    values = [value for shown in known for value in (*shown.low, *shown.high)]
    margin = 0.06 * (max(values) - min(values)) or 0.5
    ends = []
    for column in range(pairs):
        here = [shown for (at, _), shown in courses.items() if shown and at == column]
        late = [value for s in here for value in (*s.low[first:], *s.high[first:])]
        ends.append(window(late or values))
    whole = min(values) - margin, max(values) + margin
    return Limits(first, max(len(shown.mean) for shown in known), whole, ends)


def _headings(results: Results) -> list[str]:
    columns = results.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    return [heading(column, several, 20 if len(columns) > 1 else 90) for column in columns]


def _cut(name: str) -> str:
    """A name in one line, cut where it is too wide."""
    fit = flat = " ".join(name.split())
    while _width(fit) > _WIDEST:
        flat = flat[:-1]
        fit = f"{flat}…"
    return fit


def _width(name: str) -> float:
    """In inches."""
    return float(TextPath((0, 0), name, size=_NAME).get_extents().width) / 72


def _panel(
    figure: Figure, sheet: Sheet, row: int, column: int, limits: Limits
) -> tuple[Axes, Axes]:
    """The two halves of a panel, with numbers only where no neighbour says them."""
    left, top = sheet.at(row, column)
    (width, length), (wide, narrow) = sheet.size, sheet.halves
    bottom, height = 1 - (top + sheet.height) / length, sheet.height / length
    whole = figure.add_axes((left / width, bottom, wide / width, height))
    left += wide + BETWEEN
    end = figure.add_axes((left / width, bottom, narrow / width, height), facecolor=TINT)
    end.spines.left.set_visible(False)
    end.yaxis.tick_right()
    first, last = limits.first + 1, limits.last
    on_left, on_right, below = sheet.outer(row, column)
    _scale(whole, (1, last), limits.whole, on_left)
    _scale(end, (first, last), limits.ends[column], on_right)
    whole.axvspan(first, whole.get_xlim()[1], color=TINT, linewidth=0, zorder=0)
    for axes, epochs in ((whole, {1, first}), (end, {first, last})):
        axes.set_xticks(sorted(epochs) if below else [])
        for label in axes.get_xticklabels()[:1]:
            label.set_horizontalalignment("left")
        for label in axes.get_xticklabels()[1:]:
            label.set_horizontalalignment("right")
    return whole, end


def _scale(
    axes: Axes, epochs: tuple[int, int], percent: tuple[float, float], numbers: bool
) -> None:
    margin = 0.04 * (epochs[1] - epochs[0]) or 0.5
    axes.set(xlim=(epochs[0] - margin, epochs[1] + margin), ylim=percent)
    axes.set_yticks(_levels(percent) if numbers else [])


def _levels(percent: tuple[float, float]) -> list[float]:
    low, high = percent
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(level) for level in ticks if low <= level <= high]


def _ground(axes: Axes, others: Mapping[str, Course | None], first: int) -> None:
    """What a line is seen against: levels, scratch and kd."""
    levels = _levels(axes.get_ylim())
    axes.hlines(levels, *axes.get_xlim(), color="0.88", linewidth=0.5, zorder=0.5)
    for name, other in others.items():
        means = other.mean if other else []
        epochs = range(1, len(means) + 1)
        axes.plot(epochs[first:], means[first:], zorder=1.5, **REFERENCES[name])


def _count(whole: Axes, outcomes: tuple[Outcome, ...]) -> None:
    """Say how many seeds are done where it is not all of them."""
    done = sum(outcome.state == "done" for outcome in outcomes)
    at: dict[str, Any] = {"transform": whole.transAxes, "fontsize": NUMBERS, "color": GREY}
    if done == 0:
        whole.text(0.5, 0.5, absence(outcomes), ha="center", va="center", **at)
    elif done < len(outcomes):
        whole.text(0.97, 0.06, f"{done}/{len(outcomes)} seeds", ha="right", va="bottom", **at)


def _below(end: Axes, shown: Course, colour: str) -> None:
    """A line that ends below the axis is said in a number."""
    if shown.mean[-1] < end.get_ylim()[0]:
        ground = {"facecolor": TINT, "linewidth": 0, "pad": 0.5}
        at: dict[str, Any] = {"transform": end.transAxes, "fontsize": NUMBERS, "color": colour}
        text = f"▾ {shown.mean[-1]:.1f}"
        end.text(0.5, 0.04, text, ha="center", va="bottom", bbox=ground, **at)


def _name(figure: Figure, sheet: Sheet, names: Sequence[str]) -> None:
    """One pair: a method's name above its panel. Several: left of its first panel."""
    at: dict[str, Any] = {"transform": _inches(figure), "fontsize": _NAME}
    for row, name in enumerate(names):
        x, y = sheet.at(row, 0)
        if sheet.columns == 1:
            figure.text(x, y - 0.04, name, ha="left", va="bottom", **at)
        else:
            x, y = x - SIDE, y + sheet.height / 2
            figure.text(x, y, name, ha="right", va="center", **at)


def _head(figure: Figure, sheet: Sheet, headings: Sequence[str]) -> None:
    """The pair, or each pair above its column in each band."""
    at: dict[str, Any] = {"transform": _inches(figure), "fontsize": mpl.rcParams["axes.titlesize"]}
    if sheet.columns == 1:
        x, y = sheet.size[0] / 2, sheet.head - 0.25
        figure.text(x, y, headings[0], ha="center", va="bottom", **at)
        return
    for row in range(0, sheet.rows, sheet.lines):
        for column, text in enumerate(headings):
            x, y = sheet.at(row, column)
            figure.text(x + sheet.panel / 2, y - 0.08, text, ha="center", va="bottom", **at)


def _measure(figure: Figure, sheet: Sheet, measure: str) -> None:
    """Say what the axes measure."""
    width, _ = sheet.size
    middle = (sheet.head + sheet.floor) / 2
    at: dict[str, Any] = {"transform": _inches(figure), "fontsize": mpl.rcParams["axes.labelsize"]}
    up: dict[str, Any] = {"rotation": 90, "va": "center", **at}
    figure.text(0.1, middle, f"{measure} (%)", ha="left", **up)
    figure.text(width - 0.1, middle, "last quarter, magnified (%)", ha="right", **up)
    figure.text(width / 2, sheet.floor + 0.24, "epoch", ha="center", va="top", **at)


def _inches(figure: Figure) -> Transform:
    """From inches, counted from the upper left corner."""
    width, length = figure.get_size_inches()
    return Affine2D().scale(1 / width, -1 / length).translate(0, 1) + figure.transFigure


def _explain(figure: Figure, references: Sequence[str]) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=INK, linewidth=_LINE),
        "range over seeds": Patch(color=INK, alpha=0.18, linewidth=0),
        "initialising phase": Line2D([], [], color=INK, linewidth=_LINE, linestyle=DASHES),
    }
    handles |= {f"{name}, mean": Line2D([], [], **REFERENCES[name]) for name in references}
    legend(figure, handles)
