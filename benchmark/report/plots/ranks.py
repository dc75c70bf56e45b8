"""Mean ranks over pairs and which of them differ: a critical-difference diagram.

After Demšar, JMLR 2006, figure 1: methods on an axis of mean ranks, the best on the left; thick
bars join those that Nemenyi's test does not tell apart at 5 %.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.canvas import FRAME, Board, Panel, Pen
from benchmark.report.plots.style import GREY, INK, STYLE, cut, width
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import Summary
from benchmark.report.statistics.significance import LEVEL, Ranking

NAME = 8.5  # points
WIDEST = 1.6  # inches: a name
AXIS = 4.4  # inches
LINE = 0.19  # inches: from a name to the next
BAR = 0.09  # inches: from a bar to the next
EDGE = 0.12  # inches
TOP = 0.85  # inches: the axis from above
FIRST = 0.14  # inches: from the axis to the first bar
ARM = 0.15  # inches: how far a method's line goes beyond the axis
GAP = 0.36  # inches: what its rank takes beside it
BARS = Pen(INK, 2.6, order=2.5)


def draw(results: Results, summary: Summary | None) -> Figure | None:
    """The picture; None where there is no ranking, or too little for a critical difference."""
    ranking = summary.ranking if summary else None
    if summary is None or ranking is None or ranking.critical is None:
        return None
    with mpl.rc_context(STYLE):
        return _draw(results, ranking, ranking.critical, summary.unranked)


def groups(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Places, in sorted `ranks`, of the first and last of each largest group within `critical`."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _draw(results: Results, ranking: Ranking, critical: float, unranked: Sequence[str]) -> Figure:
    standings = sorted(ranking.standings, key=lambda standing: standing.rank)
    ranks = [standing.rank for standing in standings]
    names = [cut(standing.name, NAME, WIDEST) for standing in standings]
    half = math.ceil(len(names) / 2)
    left, right = (_side(some) for some in (names[:half], names[half:]))
    note = textwrap.wrap(_note(ranking, critical, unranked), round(17.5 * (left + AXIS + right)))
    bars = _stack(ranks, groups(ranks, critical))
    first = TOP + FIRST + BAR * (1 + max((level for *_, level in bars), default=0))
    foot = first + LINE * half + 0.08
    board = Board(left + AXIS + right, foot + 0.13 * len(note) + EDGE)
    axis = Panel(left, TOP, AXIS, 0, (1, len(names)), (0, 1))
    _axis(board, axis, critical)
    _bars(board, axis, bars)
    shown = method_styles(results.manifest.methods)
    for place, (standing, name) in enumerate(zip(standings, names, strict=True)):
        down = first + LINE * (place if place < half else len(names) - 1 - place)
        words = (name, standing.rank)
        _method(board, axis, down, place < half, words, shown[standing.name])
    board.text((EDGE, foot), "\n".join(note), "left", "top", 7, GREY)
    return board.finish()


def _side(names: Sequence[str]) -> float:
    """What names, ranks and arms take at one side of the axis, in inches."""
    return EDGE + max(width(name, NAME) for name in names) + GAP + ARM


def _axis(board: Board, axis: Panel, critical: float) -> None:
    """Ranks from the best on the left, and above it how long the critical difference is."""
    last = axis.x[1]
    board.line(FRAME, axis.at(axis.x, 0))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if last / step <= 14)
    for rank in sorted({1, *range(step, int(last) + 1, step)}):
        across = float(axis.at(rank, 0)[0, 0])
        board.tick(across, TOP, across, TOP - 0.05)
        board.text((across, TOP - 0.07), f"{rank}", "center", "bottom", 7.5)
    board.text(
        (axis.left + AXIS / 2, TOP - 0.24), "mean rank, 1 is the best", "center", "bottom", 8.5
    )
    ends = axis.at([1, min(last, 1 + critical)], 0)[:, 0]
    for end in ends:
        board.tick(end, TOP - 0.43, end, TOP - 0.51)
    board.tick(ends[0], TOP - 0.47, ends[1], TOP - 0.47)
    board.text((ends[0], TOP - 0.53), f"critical difference {critical:.2f}", "left", "bottom", 7.5)


def _bars(board: Board, axis: Panel, bars: Sequence[tuple[float, float, int]]) -> None:
    for low, high, level in bars:
        down = TOP + FIRST + BAR * level
        ends = axis.at([low, high], 0)[:, 0] + (-0.04, 0.04)
        board.line(BARS, np.column_stack([ends, [down, down]]))


def _stack(
    ranks: Sequence[float], found: Sequence[tuple[int, int]]
) -> list[tuple[float, float, int]]:
    """Bars by their ends, each on the first level where it touches no other."""
    stacked: list[tuple[float, float, int]] = []
    for first, last in found:
        low, high = ranks[first], ranks[last]
        taken = {level for _, right, level in stacked if right >= low}
        level = next(level for level in range(len(found)) if level not in taken)
        stacked.append((low, high, level))
    return stacked


def _method(
    board: Board, axis: Panel, down: float, left: bool, words: tuple[str, float], look: MethodStyle
) -> None:
    """From a method's place on the axis down to its row, and out to its rank and name."""
    name, rank = words
    across = float(axis.at(rank, 0)[0, 0])
    edge, way = (axis.left - ARM, -1) if left else (axis.right + ARM, 1)
    path = np.array([(across, TOP), (across, down), (edge, down)])
    board.line(Pen(look.colour, 0.9, order=2), path)
    board.axes.plot(across, TOP, marker=look.marker, color=look.colour, markersize=4.5, zorder=5)
    side: Literal["left", "right"] = "right" if left else "left"
    board.text((edge + way * 0.05, down), f"{rank:.2f}", side, "center", 7, GREY)
    board.text((edge + way * GAP, down), name, side, "center", NAME)


def _note(ranking: Ranking, critical: float, unranked: Sequence[str]) -> str:
    p = "p < 0.001" if (ranking.p or 0) < 0.001 else f"p = {ranking.p:.2g}"
    sentences = [
        f"Ranks over the {ranking.blocks} pairs in which every ranked method is complete. "
        f"Friedman: χ² = {ranking.chi2:.1f}, {p}. Bars join mean ranks that differ by less than "
        f"the critical difference (Nemenyi, {100 * LEVEL:.0f} %)."
    ]
    if unranked:
        sentences.append(f"Not ranked, as not applicable everywhere: {', '.join(unranked)}.")
    return " ".join(sentences)
