"""Loss terms over the epochs: a panel for each method, every term by its name.

Of several pairs the first on which anything is done: a course of losses is looked at to see whether
it goes as it should, and the page has it for every cell.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.report.palette import KNOWN_STYLES, MethodStyle, method_styles
from benchmark.report.plots.canvas import FRAME, Board, Dashes, Panel, Pen
from benchmark.report.plots.loss_terms import LossTerm, Scale, fit, loss_terms
from benchmark.report.plots.style import (
    DROP,
    GREY,
    INK,
    MANY,
    STYLE,
    add_legend,
    cut,
    learning_rate_drops,
    missing_reason,
    pair_title,
    width,
)
from benchmark.report.results.outcomes import Results
from benchmark.report.tables.layout import MINUS
from benchmark.store.record import Epoch

WIDE, HIGH = 1.5, 0.95  # inches: a panel
BESIDE, NAMED, BELOW = 0.5, 0.22, 0.3  # inches: what numbers, name and epochs take
KEY, SAMPLE = 0.125, 0.16  # inches: a line of terms, the line before a term's name
EDGE, SIDE, HEAD, FOOT = 0.1, 0.22, 0.34, 0.62  # inches: of the page
NAME, TERM, LINE = 8.5, 7, 1.2  # points
FINE = {**STYLE, "legend.fontsize": 8, "legend.columnspacing": 1.4}
PLAIN = "ce"  # what nearly all have, scratch nothing else
FURTHER = ("#56b4e9", "#8f7a00", "#8c3a8c", "#ca9161")
DASHED: tuple[Dashes, ...] = ("solid", (0, (3, 1)), (0, (1, 1)))
TURN = Pen("0.35", 0.7, order=1)
DROPPED = Pen(DROP["color"], 0.7, DROP["linestyle"], order=1)
LEVELS = Pen("0.92", 0.5, order=0.5)

Shown = Mapping[tuple[str, str], LossTerm]
Keys = Sequence[tuple[str, float, int]]  # terms, each with its place in a line, and which line


def draw(results: Results) -> Figure | None:
    """The picture; None where no record has loss terms."""
    grid = results.manifest
    for column in range(len(grid.columns)):
        known = {name: loss_terms(results.students[column, name]) for name in grid.methods}
        if any(known.values()):
            with mpl.rc_context(FINE):
                return _draw(results, column, known)
    return None


class Page(NamedTuple):
    """Where panels stand, lengths in inches, and what their epochs are."""

    across: int
    down: int
    above: float  # what name and terms take above a panel
    longest: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        below = self.above + HIGH + BELOW
        return SIDE + self.across * (BESIDE + WIDE) + EDGE, HEAD + self.down * below + FOOT

    def panel(self, place: int, scale: Scale) -> Panel:
        """The panel of the method in this place."""
        row, band = divmod(place, self.across)
        left = SIDE + band * (BESIDE + WIDE) + BESIDE
        top = HEAD + row * (self.above + HIGH + BELOW) + self.above
        margin = 0.03 * (self.longest - 1) or 0.5
        epochs = (1 - margin, self.longest + margin)
        return Panel(left, top, WIDE, HIGH, epochs, (scale.low, scale.high))


def _draw(results: Results, column: int, known: Mapping[str, Shown]) -> Figure:
    keys = {name: _keys(_names(shown)) for name, shown in known.items()}
    across = 3 if len(known) <= MANY else 5
    lines = 1 + max(line for key in keys.values() for *_, line in key)
    longest = max(term.epochs[-1] for shown in known.values() for term in shown.values())
    page = Page(across, math.ceil(len(known) / across), NAMED + KEY * lines, longest)
    board = Board(*page.size)
    for place, (name, look) in enumerate(method_styles(known).items()):
        outcomes, shown = results.students[column, name], known[name]
        scale = fit(shown.values()) if shown else Scale(0, 1, False)
        panel = page.panel(place, scale)
        top = panel.top - KEY * (1 + max((line for *_, line in keys[name]), default=-1)) - 0.05
        board.text((panel.left, top - 0.02), cut(name, NAME, WIDE), "left", "bottom", NAME)
        if shown:
            pens = _pens(_names(shown), look)
            _key(board, (panel.left, top), keys[name], pens)
            _frame(board, panel, scale, _history(results, column, name))
            _terms(board, panel, scale, shown, pens)
        else:
            middle = (panel.left + WIDE / 2, panel.top + HIGH / 2)
            board.text(middle, missing_reason(outcomes), "center", "center", TERM, GREY)
        if place + across >= len(known):
            _epochs(board, panel, longest)
    _say(board, results, column)
    histories = [_history(results, column, name) for name, shown in known.items() if shown]
    _explain(board.figure, histories)
    return board.finish()


def _names(shown: Shown) -> list[str]:
    return list(dict.fromkeys(name for name, _ in shown))


def _keys(names: Sequence[str]) -> Keys:
    """Terms in lines no wider than a panel."""
    keys, line, used = [], 0, 0.0
    for name in names:
        wide = SAMPLE + 0.04 + width(cut(name, TERM, WIDE - SAMPLE), TERM) + 0.1
        if used and used + wide > WIDE + 0.15:
            line, used = line + 1, 0.0
        keys.append((name, used, line))
        used += wide
    return keys


def _pens(names: Sequence[str], look: MethodStyle) -> dict[str, Pen]:
    """What is called as a known method wears its colour, another first term that of the row."""
    free = cycle([look.colour, *(colour for colour in FURTHER if colour != look.colour)])
    own = [name for name in names if name != PLAIN]
    pens = {PLAIN: Pen(KNOWN_STYLES["scratch"].colour, LINE)}
    for place, name in enumerate(own):
        colour = KNOWN_STYLES[name].colour if name in KNOWN_STYLES else next(free)
        pens[name] = Pen(colour, LINE, DASHED[place % len(DASHED)])
    return pens


def _key(board: Board, at: tuple[float, float], keys: Keys, pens: Mapping[str, Pen]) -> None:
    """The terms by name, each behind a piece of its line."""
    for name, across, line in keys:
        left, down = at[0] + across, at[1] + KEY * (line + 0.3)
        board.line(pens[name], np.array([(left, down), (left + SAMPLE, down)]))
        words = cut(name, TERM, WIDE - SAMPLE)
        board.text((left + SAMPLE + 0.04, down), words, "left", "center", TERM)


def _frame(board: Board, panel: Panel, scale: Scale, history: Sequence[Epoch]) -> None:
    """Axes, numbers, where a phase ends and where the learning rate drops."""
    board.line(FRAME, panel.at([panel.x[0]] * 2, panel.y))
    board.line(FRAME, panel.at(panel.x, [panel.y[0]] * 2))
    for tick in scale.ticks():
        height = float(scale.of([tick])[0])
        board.levels(panel, LEVELS, [height])
        down = float(panel.at(0, height)[0, 1])
        board.tick(panel.left, down, panel.left - 0.03, down)
        board.text((panel.left - 0.05, down), f"{tick:g}".replace("-", MINUS), "right", "center")
    board.uprights(panel, TURN, _turns(history))
    board.uprights(panel, DROPPED, learning_rate_drops(history))


def _terms(board: Board, panel: Panel, scale: Scale, shown: Shown, pens: Mapping[str, Pen]) -> None:
    for (name, _), term in shown.items():
        low, mean, high = (scale.of(values) for values in (term.low, term.mean, term.high))
        board.band(panel, pens[name].colour, term.epochs, low, high)
        board.curve(panel, pens[name], term.epochs, mean)


def _epochs(board: Board, panel: Panel, longest: int) -> None:
    for epoch in sorted({1, longest}):
        across = float(panel.at(epoch, 0)[0, 0])
        board.tick(across, panel.bottom, across, panel.bottom + 0.03)
        board.text((across, panel.bottom + 0.05), f"{epoch}", "center", "top")


def _say(board: Board, results: Results, column: int) -> None:
    """Which pair it is, what the axes measure, what the lines are."""
    columns, (across, length) = results.manifest.columns, board.figure.get_size_inches()
    several = len({one.dataset for one in columns}) > 1
    middle = (across + SIDE) / 2
    board.text((middle, EDGE), pair_title(columns[column], several, 90), "center", "top", 9)
    up = (HEAD + length - FOOT) / 2
    words = "loss terms, as weighted"
    board.text((EDGE, up), words, "center", "top", 9, turned=True)
    board.text((middle, length - FOOT - 0.08), "epoch", "center", "top", 9)


def _explain(figure: Figure, histories: Sequence[Sequence[Epoch]]) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=INK, linewidth=LINE),
        "range over seeds": Patch(color=INK, alpha=0.18, linewidth=0),
    }
    if any(map(_turns, histories)):
        handles["a phase ends"] = Line2D([], [], color=TURN.colour, linewidth=TURN.width)
    if any(map(learning_rate_drops, histories)):
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)


def _history(results: Results, column: int, name: str) -> Sequence[Epoch]:
    """Of the first seed that is done: the others have the same phases and rates."""
    return next(o.record.history for o in results.students[column, name] if o.record)


def _turns(history: Sequence[Epoch]) -> list[float]:
    """Where a phase ends."""
    return [now.epoch + 0.5 for now, after in pairwise(history) if now.phase != after.phase]
