"""Mean ranks over pairs: a critical-difference diagram (Demšar, JMLR 2006, figure 1).

Methods stand on an axis of mean ranks, the best on the left. Thick bars join methods whose ranks
do not differ by Nemenyi's test at 5 %.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.style import GREY, INK, SMALL, freeze_layout, panel_grid, styled
from benchmark.report.plots.text import shorten
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import SuiteSummary
from benchmark.report.statistics.significance import ALPHA, MethodRank, Ranking

NAME = 8.5  # points
WIDTH = 7.6  # inches
ROW = 0.19  # inches; also the unit of the y axis, which points downwards
BAR = 0.45  # rows: from a bar to the next
MARGIN = 0.03  # of the axis: between its ends and the names


def draw(results: Results, summary: SuiteSummary | None) -> Iterator[Figure]:
    """Yield the picture; none if there is no ranking or no critical difference."""
    ranking = summary.ranking if summary else None
    if summary is not None and ranking is not None and ranking.critical is not None:
        yield _draw(results, ranking, ranking.critical, summary.unranked)


def rank_groups(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return the first and last index, in sorted `ranks`, of each maximal group.

    The ranks of a group differ by less than the critical difference.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(index for index, other in enumerate(ranks) if other - rank < critical)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


@styled
def _draw(results: Results, ranking: Ranking, critical: float, unranked: Sequence[str]) -> Figure:
    standings = sorted(ranking.standings, key=lambda standing: standing.rank)
    bars = _stack([standing.rank for standing in standings], critical)
    top = BAR * (2 + max((level for *_, level in bars), default=0))
    half = math.ceil(len(standings) / 2)
    figure, [[axes]] = panel_grid(1, 1, [WIDTH], [ROW * (top + half + 2) + 0.15])
    margin = MARGIN * len(standings)
    axes.set(xlim=(1 - margin, len(standings) + margin), ylim=(top + half + 2, 0))
    _set_axis(axes, len(standings))
    for low, high, level in bars:
        line: dict[str, Any] = {"color": INK, "linewidth": 2.6, "solid_capstyle": "butt"}
        axes.plot([low - margin / 4, high + margin / 4], [BAR * (level + 1)] * 2, **line)
    styles = method_styles(results.manifest.methods)
    for index, standing in enumerate(standings):
        row = index if index < half else len(standings) - 1 - index
        _draw_method(axes, standing, top + row, index < half, styles[standing.name])
    bottom = top + half + 1
    ends = [1, min(len(standings), 1 + critical)]
    axes.plot(ends, [bottom, bottom], color=INK, linewidth=0.8, marker="|", markersize=5)
    words = f"critical difference {critical:.2f}"
    axes.text(1, bottom - 0.3, words, fontsize=SMALL, va="bottom")
    note = textwrap.fill(_note(ranking, critical, unranked), 125)
    figure.supxlabel(note, fontsize=SMALL, color=GREY)
    freeze_layout(figure)
    return figure


def _stack(ranks: Sequence[float], critical: float) -> list[tuple[float, float, int]]:
    """Return the bars: both ends, and the first level on which a bar touches no other."""
    bars: list[tuple[float, float, int]] = []
    for first, last in rank_groups(ranks, critical):
        taken = {level for _, end, level in bars if end >= ranks[first]}
        level = next(level for level in range(len(ranks)) if level not in taken)
        bars.append((ranks[first], ranks[last], level))
    return bars


def _set_axis(axes: Axes, last: int) -> None:
    """Show the ranks from 1 to `last` on the upper edge, and no other axis."""
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.spines["top"].set_bounds(1, last)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if last / step <= 14)
    axes.set_xticks(sorted({1, *range(step, last + 1, step)}))
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7.5, pad=1, length=3)
    axes.set_xlabel("mean rank (1 is the best)")


def _draw_method(
    axes: Axes, standing: MethodRank, row: float, left: bool, style: MethodStyle
) -> None:
    """Draw a line from a method's rank down to its row and to the side, with rank and name."""
    side = axes.get_xlim()[0 if left else 1]
    rank, colour = standing.rank, style.colour
    axes.plot([rank, rank, side], [0, row, row], color=colour, linewidth=0.9)
    axes.plot(rank, 0, marker=style.marker, color=colour, markersize=4.5, zorder=5, clip_on=False)
    where: dict[str, Any] = {"xy": (side, row), "textcoords": "offset points", "va": "center"}
    where["ha"] = "right" if left else "left"
    sign = -1 if left else 1
    axes.annotate(f"{rank:.2f}", xytext=(3 * sign, 0), fontsize=SMALL, color=GREY, **where)
    name = shorten(standing.name, 1.6, NAME)
    axes.annotate(name, xytext=(26 * sign, 0), fontsize=NAME, color=INK, **where)


def _note(ranking: Ranking, critical: float, unranked: Sequence[str]) -> str:
    p = "p < 0.001" if (ranking.p or 0) < 0.001 else f"p = {ranking.p:.2g}"
    sentences = [
        f"Ranks over the {ranking.blocks} pairs in which every ranked method is complete. "
        f"Friedman: χ² = {ranking.chi2:.1f}, {p}. Bars join mean ranks that differ by less than "
        f"the critical difference (Nemenyi, {100 * ALPHA:.0f} %)."
    ]
    if unranked:
        sentences.append(f"Not ranked, as not applicable everywhere: {', '.join(unranked)}.")
    return " ".join(sentences)
