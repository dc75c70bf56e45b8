"""Loss terms over the epochs: a panel for each method, with every term by its name.

Of several pairs only the first with a finished run is drawn; the HTML page has all of them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.report.palette import FIXED_STYLES, MethodStyle, method_styles
from benchmark.report.plots.history import (
    LossTerm,
    draw_mean_and_range,
    first_history,
    learning_rate_drops,
    loss_terms,
    phase_ends,
)
from benchmark.report.plots.style import (
    DROP,
    GREY,
    INK,
    SMALL,
    add_legend,
    freeze_layout,
    label_below,
    missing_reason,
    pair_title,
    panel_grid,
    split_into_pages,
    styled,
)
from benchmark.report.plots.text import shorten, text_width, with_minus
from benchmark.report.results.outcomes import Results
from benchmark.store.record import Epoch

COMMON_TERM = "ce"  # nearly every method has it, and scratch has no other
MORE_COLOURS = ("#56b4e9", "#8f7a00", "#8c3a8c", "#ca9161")
LINE_STYLES: tuple[Any, ...] = ("solid", (0, (3, 1)), (0, (1, 1)))
PHASE_END: dict[str, Any] = {"color": "0.35", "linewidth": 0.7, "zorder": 1}
WIDTH = 1.9  # inches: a panel
MAX_DECADES = 4  # on a logarithmic axis
LOG_RATIO = 3  # an axis is logarithmic if the largest loss is more than this times the smallest

Terms = Mapping[tuple[str, str], LossTerm]


def draw(results: Results) -> Iterator[Figure]:
    """Yield the pictures; none if no record has loss terms."""
    grid = results.manifest
    for column in range(len(grid.columns)):
        terms = {name: loss_terms(results.students[column, name]) for name in grid.methods}
        if any(terms.values()):
            for page in split_into_pages(grid.methods):
                yield _draw_page(results, column, terms, page)
            return


@styled
def _draw_page(
    results: Results, column: int, terms: Mapping[str, Terms], methods: Sequence[str]
) -> Figure:
    figure, panels = panel_grid(len(methods), 3 if len(methods) < 7 else 4, [WIDTH], [1.6])
    styles = method_styles(results.manifest.methods)
    longest = max(term.epochs[-1] for found in terms.values() for term in found.values())
    for name, (axes,) in zip(methods, panels, strict=True):
        outcomes = results.students[column, name]
        lines = line_styles([term for term, _ in terms[name]], styles[name])
        margin = 0.03 * (longest - 1) or 0.5
        axes.set_xlim(1 - margin, longest + margin)
        axes.set_xticks(sorted({1, longest}))
        axes.tick_params(length=2, pad=2, labelsize=SMALL)
        if terms[name]:
            set_loss_axis(axes, terms[name].values())
            _draw_terms(axes, terms[name], lines)
            for epoch in phase_ends(first_history(outcomes)):
                axes.axvline(epoch, **PHASE_END)
            for epoch in learning_rate_drops(first_history(outcomes)):
                axes.axvline(epoch, **DROP)
        else:
            axes.set_yticks([])
            words: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "color": GREY,
            }
            axes.text(
                0.5,
                0.5,
                missing_reason(outcomes),
                fontsize=SMALL,
                transform=axes.transAxes,
                **words,
            )
        _name_terms(axes, name, lines)
    figure.suptitle(pair_title(results, column, 5))
    label_below(panels, "epoch")
    figure.supylabel("loss terms, as weighted")
    _add_legend(figure, [first_history(results.students[column, name]) for name in methods])
    freeze_layout(figure)
    return figure


def line_styles(terms: Sequence[str], style: MethodStyle) -> dict[str, dict[str, Any]]:
    """Return how each term is drawn.

    A term named after a known method has that method's colour, the first other term that of the
    row's own method.
    """
    free = cycle([style.colour, *(colour for colour in MORE_COLOURS if colour != style.colour)])
    lines: dict[str, dict[str, Any]] = {}
    own = [term for term in dict.fromkeys(terms) if term != COMMON_TERM]
    for place, term in enumerate(own):
        colour = FIXED_STYLES[term].colour if term in FIXED_STYLES else next(free)
        lines[term] = {"color": colour, "linestyle": LINE_STYLES[place % len(LINE_STYLES)]}
    if COMMON_TERM in terms:
        lines[COMMON_TERM] = {"color": FIXED_STYLES["scratch"].colour, "linestyle": "solid"}
    return lines


def set_loss_axis(axes: Axes, terms: Iterable[LossTerm]) -> None:
    """Set limits and ticks; logarithmic if no loss is negative and they are far apart."""
    values = [value for term in terms for value in (*term.low, *term.high)]
    positive = [value for value in values if value > 0]
    low, high = min(values), max(values)
    if low < 0 or high <= LOG_RATIO * min(positive, default=high):
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        return
    low = max(min(positive), high / 10**MAX_DECADES)
    margin = (high / low) ** 0.06
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    decades = math.log10(high / low)
    steps = (1,) if decades > 2 else (1, 3) if decades > 1 else (1, 2, 5)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: with_minus(f"{loss:g}")))
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_terms(axes: Axes, terms: Terms, lines: Mapping[str, dict[str, Any]]) -> None:
    for (name, _), term in terms.items():
        line = lines[name]
        draw_mean_and_range(
            axes, term.epochs, term.mean, term.low, term.high, linewidth=1.2, **line
        )


def _name_terms(axes: Axes, method: str, lines: Mapping[str, dict[str, Any]]) -> None:
    """Add a legend of the terms above the panel, with the method's name as its title."""
    names = [shorten(name, WIDTH - 0.7, SMALL) for name in lines]
    widest = max((text_width(name, SMALL) for name in names), default=1)
    axes.legend(
        [Line2D([], [], linewidth=1.2, **line) for line in lines.values()],
        names,
        title=shorten(method, WIDTH - 0.5, 8.5),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(3, int((WIDTH - 0.4) / (widest + 0.32)))),
        fontsize=SMALL,
        title_fontsize=8.5,
        alignment="left",
        frameon=False,
        borderpad=0,
        handlelength=1.4,
        handletextpad=0.4,
        columnspacing=0.9,
    )


def _add_legend(figure: Figure, histories: Sequence[Sequence[Epoch]]) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=INK, linewidth=1.2),
        "range over seeds": Patch(color=INK, alpha=0.18, linewidth=0),
    }
    if any(map(phase_ends, histories)):
        handles["a phase ends"] = Line2D([], [], **PHASE_END)
    if any(map(learning_rate_drops, histories)):
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)
