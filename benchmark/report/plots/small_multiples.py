"""Training curves of many methods: small multiples, a panel for each method on each pair.

A panel has two halves: on the left the whole training, on the right, tinted, its last quarter
magnified. All left halves have the same axes, and so have all right halves of a pair; scratch and
kd are grey lines in every panel. One pair: panels stand like words on a page, each below its
method's name. Several: like the table, a line for each method and a column for each pair.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.canvas import FRAME, Board, Panel, Pen
from benchmark.report.plots.panel_grid import BETWEEN, SIDE, Sheet, lay
from benchmark.report.plots.style import (
    DASHES,
    DROP,
    GREY,
    INK,
    STYLE,
    TINT,
    AccuracyCurve,
    accuracy_curve,
    add_legend,
    common_learning_rate_drops,
    cut,
    dataset_suffix,
    missing_reason,
    pair_title,
    robust_limits,
    width,
)
from benchmark.report.results.outcomes import Outcome, Results

REFERENCES: Mapping[str, Pen] = {
    "scratch": Pen("0.5", 0.8, order=1.5),
    "kd": Pen("0.5", 1.0, (0, (1, 1)), order=1.5),
}
LEVELS = Pen("0.88", 0.5, order=0.5)
DROPPED = Pen(DROP["color"], 0.5, DROP["linestyle"], order=0.6)
LINE = 1.1  # points
_NAME = 8  # points
_WIDEST = 1.36  # inches: a name
_TICK = 2 / 72  # inches
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")

Courses = Mapping[tuple[int, str], AccuracyCurve | None]
Halves = tuple[Panel, Panel]


class Limits(NamedTuple):
    """What the axes show: epochs, and top-1 in percent."""

    first: int  # epochs before the last quarter
    last: int
    whole: tuple[float, float]
    ends: Sequence[tuple[float, float]]  # one a pair


class Plan(NamedTuple):
    """What is drawn where."""

    sheet: Sheet
    limits: Limits
    courses: Courses
    names: list[str]
    headings: list[str]


@mpl.rc_context({**STYLE, "legend.fontsize": 8, "legend.columnspacing": 1.4})
def draw(results: Results) -> Figure:
    """The picture; at least one student must be done."""
    grid = results.manifest
    sheet, limits, courses, names, headings = plan(results)
    board = Board(*sheet.size)
    drops = [common_learning_rate_drops(results, column) for column in range(len(headings))]
    for column in range(len(headings)):
        for row, (method, look) in enumerate(method_styles(grid.methods).items()):
            halves = place(sheet, row, column, limits)
            _frame(board, halves, sheet.outer(row, column), limits, drops[column])
            _count(board, halves[0], results.students[column, method])
            others = {name: courses.get((column, name)) for name in REFERENCES if name != method}
            if shown := courses[column, method]:
                _lines(board, halves, shown, look, others, limits.first)
    _name(board, sheet, names)
    _head(board, sheet, headings)
    _measure(board, sheet, f"{grid.measure}{dataset_suffix(results)}")
    figure = board.finish()
    _explain(figure, [name for name in REFERENCES if name in grid.methods], any(drops))
    return figure


def plan(results: Results) -> Plan:
    """Where panels stand and what they show; with the style in force."""
    grid = results.manifest
    courses = {at: accuracy_curve(outcomes) for at, outcomes in results.students.items()}
    names = [cut(name, _NAME, _WIDEST) for name in grid.methods]
    headings = _headings(results)
    lines = max(text.count("\n") for text in headings) + 1
    sheet = lay(len(names), len(headings), max(width(name, _NAME) for name in names), lines)
    return Plan(sheet, _limits(courses, len(headings)), courses, names, headings)


def place(sheet: Sheet, row: int, column: int, limits: Limits) -> Halves:
    """Where the two halves of a panel stand, and what they show."""
    left, top = sheet.at(row, column)
    wide, narrow = sheet.halves
    shown = ((1, limits.last), (limits.first + 1, limits.last))
    whole, end = (
        (begin - margin, stop + margin)
        for begin, stop in shown
        for margin in [0.04 * (stop - begin) or 0.5]
    )
    return (
        Panel(left, top, wide, sheet.height, whole, limits.whole),
        Panel(left + wide + BETWEEN, top, narrow, sheet.height, end, limits.ends[column]),
    )


def _limits(courses: Courses, pairs: int) -> Limits:
    known = [shown for shown in courses.values() if shown]
    first = 3 * min(len(shown.mean) for shown in known) // 4
    values = [value for shown in known for value in (*shown.low, *shown.high)]
    margin = 0.06 * (max(values) - min(values)) or 0.5
    ends = []
    for column in range(pairs):
        here = [shown for (at, _), shown in courses.items() if shown and at == column]
        late = [value for s in here for value in (*s.low[first:], *s.high[first:])]
        ends.append(robust_limits(late or values))
    whole = min(values) - margin, max(values) + margin
    return Limits(first, max(len(shown.mean) for shown in known), whole, ends)


def _headings(results: Results) -> list[str]:
    columns = results.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    return [pair_title(column, several, 20 if len(columns) > 1 else 90) for column in columns]


def _frame(
    board: Board,
    halves: Halves,
    outer: tuple[bool, bool, bool],
    limits: Limits,
    drops: Sequence[int],
) -> None:
    """Grounds, axes and levels, with numbers only where no neighbour says them."""
    whole, end = halves
    magnified = float(whole.at(limits.first + 1, whole.y[0])[0, 0])
    board.ground(TINT, whole, magnified)
    board.ground(TINT, end)
    board.line(FRAME, whole.at([whole.x[0]] * 2, whole.y))
    for panel, side, numbered in zip(halves, (-1, 1), outer[:2], strict=True):
        board.line(FRAME, panel.at(panel.x, [panel.y[0]] * 2))
        board.levels(panel, LEVELS, _levels(panel.y))
        board.uprights(panel, DROPPED, [epoch for epoch in drops if epoch > panel.x[0]])
        if numbered:
            _percents(board, panel, side)
    if outer[2]:
        first = limits.first + 1
        for panel, epochs in zip(halves, ({1, first}, {first, limits.last}), strict=True):
            _epochs(board, panel, sorted(epochs))


def _levels(percent: tuple[float, float]) -> list[float]:
    low, high = percent
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(level) for level in ticks if low <= level <= high]


def _percents(board: Board, panel: Panel, side: int) -> None:
    """Numbers left (-1) or right (1) of a panel."""
    edge = panel.left if side < 0 else panel.right
    levels = _levels(panel.y)
    whole = all(level.is_integer() for level in levels)
    for level in levels:
        height = float(panel.at(panel.x[0], level)[0, 1])
        board.tick(edge, height, edge + side * _TICK, height)
        at = (edge + side * (_TICK + 0.02), height)
        words = f"{level:.0f}" if whole else f"{level:g}"
        board.text(at, words, "right" if side < 0 else "left", "center")


def _epochs(board: Board, panel: Panel, epochs: Sequence[int]) -> None:
    """The first and the last epoch below a panel, within its sides."""
    for epoch, side in zip(epochs, SIDES, strict=False):
        across = float(panel.at(epoch, panel.y[0])[0, 0])
        board.tick(across, panel.bottom, across, panel.bottom + _TICK)
        board.text((across, panel.bottom + _TICK + 0.02), f"{epoch}", side, "top")


def _lines(
    board: Board,
    halves: Halves,
    shown: AccuracyCurve,
    look: MethodStyle,
    others: Mapping[str, AccuracyCurve | None],
    quarter: int,
) -> None:
    """Scratch and kd, and before them the method's own line and range."""
    for panel, first in zip(halves, (0, quarter), strict=True):
        for name, other in others.items():
            means = other.mean if other else []
            board.curve(panel, REFERENCES[name], range(first + 1, len(means) + 1), means[first:])
        start = max(shown.initialising, first)
        epochs = range(1, len(shown.mean) + 1)
        board.band(panel, look.colour, epochs[first:], shown.low[first:], shown.high[first:])
        # One epoch further than the phase, so that the line is whole.
        solid = Pen(look.colour, LINE)
        for part, pen in (
            (slice(first, start + 1), solid._replace(dashes=DASHES)),
            (slice(start, None), solid),
        ):
            board.curve(panel, pen, epochs[part], shown.mean[part])
    end = halves[1]
    if shown.mean[-1] < end.y[0]:
        at = (end.left + end.width / 2, end.bottom - 0.04 * end.height)
        words = f"▾ {shown.mean[-1]:.1f}"
        board.text(at, words, "center", "bottom", colour=look.colour, ground=TINT)


def _count(board: Board, whole: Panel, outcomes: tuple[Outcome, ...]) -> None:
    """Say how many seeds are done where it is not all of them."""
    done = sum(outcome.state == "done" for outcome in outcomes)
    if done == 0:
        middle = (whole.left + whole.width / 2, whole.top + whole.height / 2)
        board.text(middle, missing_reason(outcomes), "center", "center", colour=GREY)
    elif done < len(outcomes):
        corner = (whole.right - 0.02, whole.bottom - 0.05)
        board.text(corner, f"{done}/{len(outcomes)} seeds", "right", "bottom", colour=GREY)


def _name(board: Board, sheet: Sheet, names: Sequence[str]) -> None:
    """One pair: a method's name above its panel. Several: left of its first panel."""
    for row, name in enumerate(names):
        x, y = sheet.at(row, 0)
        if sheet.columns == 1:
            board.text((x, y - 0.04), name, "left", "bottom", _NAME)
        else:
            board.text((x - SIDE, y + sheet.height / 2), name, "right", "center", _NAME)


def _head(board: Board, sheet: Sheet, headings: Sequence[str]) -> None:
    """The pair, or each pair above its column in each band."""
    if sheet.columns == 1:
        middle = (sheet.size[0] / 2, sheet.head - 0.25)
        board.text(middle, headings[0], "center", "bottom", 9)
        return
    for row in range(0, sheet.rows, sheet.lines):
        for column, text in enumerate(headings):
            x, y = sheet.at(row, column)
            board.text((x + sheet.panel / 2, y - 0.08), text, "center", "bottom", 9)


def _measure(board: Board, sheet: Sheet, measure: str) -> None:
    """Say what the axes measure."""
    across, _ = sheet.size
    middle = (sheet.head + sheet.floor) / 2
    board.text((0.1, middle), f"{measure} (%)", "center", "top", 9, turned=True)
    words = "last quarter, magnified (%)"
    board.text((across - 0.1, middle), words, "center", "bottom", 9, turned=True)
    board.text((across / 2, sheet.floor + 0.24), "epoch", "center", "top", 9)


def _explain(figure: Figure, references: Sequence[str], dropping: bool) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=INK, linewidth=LINE),
        "range over seeds": Patch(color=INK, alpha=0.18, linewidth=0),
        "initialising phase": Line2D([], [], color=INK, linewidth=LINE, linestyle=DASHES),
    }
    for name, pen in ((name, REFERENCES[name]) for name in references):
        line = Line2D([], [], color=pen.colour, linewidth=pen.width, linestyle=pen.dashes)
        handles[f"{name}, mean"] = line
    if dropping:
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)
