"""Training curves of many methods: small multiples, a panel for each method on each pair.

A panel has two halves: on the left the whole training, on the right, tinted, its last quarter
magnified. All left halves have the same axes, and so have all right halves of a pair; scratch and
kd are grey lines in every panel. One pair: panels stand like words on a page, each below its
method's name. Several: like the table, a line for each method and a column for each pair.
"""

import math
import textwrap
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

from benchmark.report.layout import pair
from benchmark.report.palette import OTHERS, Look, looks
from benchmark.report.records import Outcome, Results
from benchmark.report.style import (
    DASHES,
    GREY,
    TINT,
    Course,
    absence,
    course,
    legend,
    on,
    trace,
    window,
)

REFERENCES: Mapping[str, dict[str, Any]] = {
    "scratch": {"color": "0.5", "linewidth": 0.8, "linestyle": "-"},
    "kd": {"color": "0.5", "linewidth": 1.0, "linestyle": (0, (1, 1))},
}
WHOLE, END, BETWEEN = 0.74, 0.60, 0.05  # inches: a panel's halves and the gap between them
PANEL = WHOLE + BETWEEN + END
NAMES, NUMBERS = 8.0, 6.5  # points

Courses = Mapping[tuple[int, str], Course | None]


class Sheet(NamedTuple):
    """Where the panels stand: lengths in inches, from the upper left corner."""

    rows: int
    columns: int
    bands: int  # how often the rows begin anew, further right
    height: float  # of a panel
    down: float  # from a panel to the one below it
    beside: float  # from a panel to the one beside it
    name: float  # what names on the left take
    head: float
    left: float = 0.62
    right: float = 0.50
    foot: float = 0.7

    def size(self) -> tuple[float, float]:
        """Width and height of the picture."""
        width = self.left + self.bands * self._band() + self.right
        return width, self.head + self._lines() * self.down + self.foot

    def at(self, row: int, column: int) -> tuple[float, float]:
        """The upper left corner of a panel."""
        line, band = self._place(row)
        x = self.left + band * self._band() + self.name + column * self.beside
        return x, self.head + line * self.down

    def outer(self, row: int, column: int) -> tuple[bool, bool, bool]:
        """Whether a panel needs numbers on its left, on its right, below."""
        line, band = self._place(row)
        last = row == self.rows - 1
        if self.columns == 1:
            return band == 0, last or band == self.bands - 1, row + self.bands >= self.rows
        return column == 0, True, last or line == self._lines() - 1

    def _lines(self) -> int:
        return math.ceil(self.rows / self.bands)

    def _place(self, row: int) -> tuple[int, int]:
        """Line and band of a row: with one pair rows are read across, with several down."""
        if self.columns == 1:
            return divmod(row, self.bands)
        band, line = divmod(row, self._lines())
        return line, band

    def _band(self) -> float:
        return self.name + self.columns * self.beside


class Limits(NamedTuple):
    """What the axes show: epochs, and top-1 in percent."""

    first: int  # epochs before the last quarter
    last: int
    whole: tuple[float, float]
    ends: Sequence[tuple[float, float]]  # one a pair


def draw(results: Results) -> Figure:
    """The picture; to be called with the style in force, and with at least one student done."""
    grid = results.manifest
    courses = {place: course(outcomes) for place, outcomes in results.students.items()}
    limits = _limits(courses, len(grid.columns))
    names, headings = [_fitting(name) for name in grid.methods], _headings(results)
    sheet = _sheet(names, headings)
    figure = Figure(figsize=sheet.size())
    FigureCanvasAgg(figure)
    for row, (method, look) in enumerate(looks(grid.methods).items()):
        for column in range(len(grid.columns)):
            whole, end = _panel(figure, sheet, row, column, limits)
            _count(whole, results.students[column, method])
            if shown := courses[column, method]:
                _refer(
                    (whole, end), {n: courses.get((column, n)) for n in REFERENCES if n != method}
                )
                trace(whole, shown, look.colour, 0, 1.1, {})
                trace(end, shown, look.colour, limits.first, 1.1, {})
                _below(end, shown, look)
    _name(figure, sheet, names, headings)
    _measure(figure, sheet, on(results))
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


def _sheet(names: Sequence[str], headings: Sequence[str]) -> Sheet:
    rows, columns = len(names), len(headings)
    head = 0.3 + 0.15 * max(heading.count("\n") for heading in headings)
    if columns == 1:
        return Sheet(rows, 1, 5, 0.82, 1.12, PANEL + 0.2, name=0, head=head + 0.25)
    name = max(_width(name) for name in names) + 0.35
    bands = max(1, 6 // columns)
    return Sheet(rows, columns, bands, 0.38, 0.46, PANEL + 0.36, name, head + 0.1)


def _headings(results: Results) -> list[str]:
    columns = results.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    titles = [" → ".join(pair(column, several)) for column in columns]
    return [textwrap.fill(title, 90 if len(columns) == 1 else 21) for title in titles]


def _fitting(name: str) -> str:
    """A name in one line, cut where it is wider than a panel."""
    fit = flat = " ".join(name.split())
    while _width(fit) > PANEL:
        flat = flat[:-1]
        fit = f"{flat}…"
    return fit


def _width(text: str) -> float:
    """In inches."""
    return float(TextPath((0, 0), text, size=NAMES).get_extents().width) / 72


def _panel(
    figure: Figure, sheet: Sheet, row: int, column: int, limits: Limits
) -> tuple[Axes, Axes]:
    """The two halves of a panel, with numbers only where no neighbour says them."""
    left, top = sheet.at(row, column)
    width, length = sheet.size()
    bottom, height = 1 - (top + sheet.height) / length, sheet.height / length
    whole = figure.add_axes((left / width, bottom, WHOLE / width, height))
    end = figure.add_axes(((left + WHOLE + BETWEEN) / width, bottom, END / width, height))
    end.set_facecolor(TINT)
    end.spines.left.set_visible(False)
    end.yaxis.tick_right()
    first, last = limits.first + 1, limits.last
    on_left, on_right, below = sheet.outer(row, column)
    _scale(whole, (1, last), limits.whole, on_left)
    _scale(end, (first, last), limits.ends[column], on_right)
    whole.axvspan(first, whole.get_xlim()[1], color=TINT, linewidth=0, zorder=0)
    for axes, epochs in ((whole, {1, first}), (end, {first, last})):
        axes.set_xticks(sorted(epochs) if below else [])
        for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=False):
            label.set_horizontalalignment(side)
    return whole, end


def _scale(
    axes: Axes, epochs: tuple[int, int], percent: tuple[float, float], numbers: bool
) -> None:
    """Limits, levels and, where asked for, their numbers."""
    margin = 0.04 * (epochs[1] - epochs[0]) or 0.5
    axes.set(xlim=(epochs[0] - margin, epochs[1] + margin), ylim=percent)
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(*percent)
    levels = [level for level in ticks if percent[0] <= level <= percent[1]]
    axes.grid(visible=False)  # ticks take long to make, and few of the panels need any
    axes.hlines(levels, *axes.get_xlim(), color="0.88", linewidth=0.5, zorder=0.5)
    axes.set_yticks(levels if numbers else [])
    axes.tick_params(labelsize=NUMBERS, length=2, width=0.6, pad=1.5)
    axes.spines[:].set_linewidth(0.6)


def _refer(halves: tuple[Axes, Axes], references: Mapping[str, Course | None]) -> None:
    for name, reference in references.items():
        means = reference.mean if reference else []
        for axes in halves:
            axes.plot(range(1, len(means) + 1), means, zorder=1.5, **REFERENCES[name])


def _count(whole: Axes, outcomes: tuple[Outcome, ...]) -> None:
    """Say how many seeds are done where it is not all of them."""
    done = sum(outcome.state == "done" for outcome in outcomes)
    at: dict[str, Any] = {"transform": whole.transAxes, "fontsize": NUMBERS, "color": GREY}
    if done == 0:
        whole.text(0.5, 0.5, absence(outcomes), ha="center", va="center", **at)
    elif done < len(outcomes):
        whole.text(0.97, 0.06, f"{done}/{len(outcomes)} seeds", ha="right", va="bottom", **at)


def _below(end: Axes, shown: Course, look: Look) -> None:
    """A line that ends below the axis is said in a number."""
    if shown.mean[-1] < end.get_ylim()[0]:
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NUMBERS}
        text = f"▾ {shown.mean[-1]:.1f}"
        end.text(0.5, 0.05, text, transform=end.transAxes, color=look.colour, **style)


def _name(figure: Figure, sheet: Sheet, names: Sequence[str], headings: Sequence[str]) -> None:
    """The methods' names, and the pairs' at the head of each column."""
    page, beside = _page(figure), sheet.columns > 1
    for row, name in enumerate(names):
        x, y = sheet.at(row, 0)
        if beside:
            x, y = x - 0.28, y + sheet.height / 2
        style = {"ha": "right", "va": "center"} if beside else {"ha": "left", "va": "bottom"}
        figure.text(x, y - (not beside) * 0.04, name, transform=page, fontsize=NAMES, **style)
    tops = [row for row in range(sheet.rows) if sheet.at(row, 0)[1] == sheet.head]
    for column, heading in enumerate(headings):
        for row in tops if beside else ():
            x, y = sheet.at(row, column)
            _head(figure, x + PANEL / 2, y - 0.08, heading)
    if not beside:
        _head(figure, sheet.size()[0] / 2, sheet.head - 0.25, headings[0])


def _head(figure: Figure, x: float, y: float, heading: str) -> None:
    style: dict[str, Any] = {"fontsize": mpl.rcParams["axes.titlesize"], "transform": _page(figure)}
    figure.text(x, y, heading, ha="center", va="bottom", **style)


def _measure(figure: Figure, sheet: Sheet, where: str) -> None:
    """What the axes measure."""
    width, length = sheet.size()
    middle, page = (sheet.head + length - sheet.foot) / 2, _page(figure)
    style: dict[str, Any] = {"fontsize": mpl.rcParams["axes.labelsize"], "transform": page}
    up: dict[str, Any] = {"rotation": 90, "va": "center"} | style
    figure.text(0.1, middle, f"test top-1{where} (%)", ha="left", **up)
    figure.text(width - 0.1, middle, "last quarter, magnified (%)", ha="right", **up)
    figure.text(width / 2, length - sheet.foot + 0.22, "epoch", ha="center", va="top", **style)


def _page(figure: Figure) -> Transform:
    """Inches from the upper left corner."""
    width, length = figure.get_size_inches()
    return Affine2D().scale(1 / width, -1 / length).translate(0, 1) + figure.transFigure


def _explain(figure: Figure, references: Sequence[str]) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=OTHERS.colour, linewidth=1.2),
        "range over seeds": Patch(color=OTHERS.colour, alpha=0.18, linewidth=0),
        "initialising phase": Line2D([], [], color=OTHERS.colour, linewidth=1.2, linestyle=DASHES),
    }
    handles |= {f"{name}, mean": Line2D([], [], **REFERENCES[name]) for name in references}
    legend(figure, handles)
