"""Mean ranks over pairs: a critical-difference diagram (Demšar, JMLR 2006, figure 1).

Methods stand on an axis of mean ranks, the best on the left. Thick bars join methods that Nemenyi's
test does not tell apart at 5 %.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scikit_posthocs import critical_difference_diagram

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.style import GREY, INK, SMALL, STYLE, freeze_layout, panel_grid, shorten
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import Summary
from benchmark.report.statistics.significance import LEVEL, Ranking

NAME = 8.5  # points
WIDTH = 7.2  # inches


def draw(results: Results, summary: Summary | None) -> Iterator[Figure]:
    """Yield the picture; none if there is no ranking or no critical difference."""
    ranking = summary.ranking if summary else None
    if summary is None or ranking is None or ranking.critical is None:
        return
    with mpl.rc_context(STYLE):
        yield _draw(results, ranking, ranking.critical, summary.unranked)


def _draw(results: Results, ranking: Ranking, critical: float, unranked: Sequence[str]) -> Figure:
    ranks = {standing.name: standing.rank for standing in ranking.standings}
    figure, [[axes]] = panel_grid(1, 1, [WIDTH], [1])
    levels = draw_diagram(axes, ranks, critical, method_styles(results.manifest.methods))
    rows = levels + math.ceil(len(ranks) / 2)
    axes.set_ylim(-rows - 0.6, 3)
    _set_axis(axes, critical, len(ranks))
    figure.set_figheight(0.19 * (rows + 3.6) + 0.75)
    note = textwrap.fill(_note(ranking, critical, unranked), 125)
    figure.supxlabel(note, fontsize=SMALL, color=GREY)
    freeze_layout(figure)
    return figure


def draw_diagram(
    axes: Axes, ranks: Mapping[str, float], critical: float, styles: Mapping[str, MethodStyle]
) -> int:
    """Draw names, markers and bars of a diagram; return how many levels of bars it has."""
    values = np.array(list(ranks.values()))
    different = np.abs(values[:, None] - values) >= critical
    drawn = critical_difference_diagram(
        dict(ranks),
        pd.DataFrame(1.0 - different, list(ranks), list(ranks)),  # as p-values
        ax=axes,
        label_fmt_left="{label}",
        label_fmt_right="{label}",
        label_props={"fontsize": NAME},
        marker_props={"s": 0},
        elbow_props={"linewidth": 0.9},
        crossbar_props={"color": INK, "linewidth": 2.6, "solid_capstyle": "butt"},
        color_palette={name: styles[name].colour for name in ranks},
        text_h_margin=0.03 * len(ranks),
    )
    for label in drawn["labels"]:
        name = label.get_text()
        parts = [shorten(name), f"{ranks[name]:.2f}"]
        label.set_text("  ".join(parts if label.get_ha() == "right" else reversed(parts)))
        label.set_color(INK)
    for name, rank in ranks.items():
        style = styles[name]
        axes.plot(rank, 0, marker=style.marker, color=style.colour, markersize=4.5, zorder=5)
    for (bar,) in drawn["crossbars"]:  # their points come in the order of a set
        ends = np.sort(bar.get_xdata())[[0, -1]]
        bar.set_data(ends + np.array([-0.008, 0.008]) * len(ranks), bar.get_ydata()[:2])
    return len({float(bar.get_ydata()[0]) for (bar,) in drawn["crossbars"]})


def _set_axis(axes: Axes, critical: float, last: int) -> None:
    """Number the ranks, and draw above the axis how long the critical difference is."""
    axes.grid(visible=False)
    axes.set_xlim(1, last)
    axes.spines["top"].set_visible(True)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if last / step <= 14)
    axes.set_xticks(sorted({1, *range(step, last + 1, step)}))
    axes.tick_params(axis="x", labelsize=7.5, pad=1, length=3)
    axes.set_xlabel("mean rank (1 is the best)")
    axes.xaxis.set_label_position("top")
    ends = [1, min(last, 1 + critical)]
    axes.plot(ends, [2.2, 2.2], color=INK, linewidth=0.8, marker="|", markersize=5, clip_on=False)
    axes.text(1, 2.6, f"critical difference {critical:.2f}", fontsize=7.5, va="bottom")


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
