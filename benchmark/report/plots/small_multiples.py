"""Training curves of many methods: small multiples, pictures for each pair.

A method has two axes beside each other: the whole training, and its last quarter magnified. Within
a pair all methods have the same limits; scratch and kd are grey lines in every panel.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots.history import (
    AccuracyCurve,
    accuracy_curve,
    common_learning_rate_drops,
)
from benchmark.report.plots.style import (
    DASHES,
    DROP,
    GREY,
    INK,
    SMALL,
    STYLE,
    add_legend,
    dataset_suffix,
    freeze_layout,
    label_below,
    missing_reason,
    pair_title,
    panel_grid,
    robust_limits,
    shorten,
    split_into_pages,
)
from benchmark.report.results.outcomes import Outcome, Results

LINE = 1.2  # points
REFERENCES: dict[str, dict[str, Any]] = {
    "scratch": {"color": "0.5", "linewidth": 0.8},
    "kd": {"color": "0.5", "linewidth": 1.0, "linestyle": (0, (1, 1))},
}

Curves = Mapping[str, AccuracyCurve | None]


class Limits(NamedTuple):
    """Axis limits: epochs, and top-1 in percent."""

    epochs: tuple[float, float]
    top1: tuple[float, float]


def draw(results: Results) -> Iterator[Figure]:
    """Yield the pictures; pairs without a finished student have none."""
    methods = results.manifest.methods
    for column in range(len(results.manifest.columns)):
        curves = {name: accuracy_curve(results.students[column, name]) for name in methods}
        if any(curves.values()):
            for page in split_into_pages(methods):
                with mpl.rc_context({**STYLE, "xtick.labelsize": 7, "ytick.labelsize": 7}):
                    yield _draw_page(results, column, curves, page)


def shared_limits(curves: Curves) -> tuple[int, Limits, Limits]:
    """Return the epochs before the last quarter, and the limits of both axes of a panel."""
    known = [curve for curve in curves.values() if curve]
    first = 3 * min(len(curve.mean) for curve in known) // 4
    last = max(len(curve.mean) for curve in known)
    values = [value for curve in known for value in (*curve.low, *curve.high)]
    margin = 0.06 * (max(values) - min(values)) or 0.5
    whole = Limits(_widen(1, last), (min(values) - margin, max(values) + margin))
    late = [value for c in known for value in (*c.low[first:], *c.high[first:])]
    return first, whole, Limits(_widen(first + 1, last), robust_limits(late or values))


def _widen(first: int, last: int) -> tuple[float, float]:
    margin = 0.04 * (last - first) or 0.5
    return first - margin, last + margin


def _draw_page(results: Results, column: int, curves: Curves, methods: Sequence[str]) -> Figure:
    figure, panels = panel_grid(len(methods), 4, [1.05, 0.85], [1.15])
    first, *limits = shared_limits(curves)
    drops = common_learning_rate_drops(results, column)
    styles = method_styles(results.manifest.methods)
    for name, panel in zip(methods, panels, strict=True):
        panel[0].set_title(shorten(name, 26), loc="left", fontsize=8)
        for axes, limit, start in zip(panel, limits, (0, first), strict=True):
            _set_axes(axes, limit)
            for reference in REFERENCES:
                if reference != name and (other := curves.get(reference)):
                    epochs = range(start + 1, len(other.mean) + 1)
                    axes.plot(epochs, other.mean[start:], zorder=1.5, **REFERENCES[reference])
            for epoch in drops:
                if epoch > limit.epochs[0]:
                    axes.axvline(epoch, **DROP)
            if curve := curves[name]:
                draw_curve(axes, curve, styles[name], start, {})
                if max(curve.high[start:]) < limit.top1[0]:
                    below = f"▾ {curve.mean[-1]:.1f}"
                    _write(axes, (0.5, 0.04), below, "bottom", "center", styles[name].colour)
        _write_missing(panel[0], results.students[column, name])
    _label_outer_axes(panels)
    figure.suptitle(pair_title(results, column, 90))
    label_below(panels, "epoch")
    figure.supylabel(f"{results.manifest.measure}{dataset_suffix(results)} (%)")
    _add_legend(figure, [name for name in REFERENCES if name in curves], bool(drops))
    freeze_layout(figure)
    return figure


def _set_axes(axes: Axes, limits: Limits) -> None:
    axes.set(xlim=limits.epochs, ylim=limits.top1)
    low, high = limits.epochs
    middle = (low + high) / 2
    ticks = [round(low + 0.5), round(high - 0.5)]
    axes.set_xticks(sorted({tick for tick in ticks if low <= tick <= high} or {round(middle)}))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(length=2, pad=2, labelleft=False, labelbottom=False)


def draw_curve(
    axes: Axes, curve: AccuracyCurve, style: MethodStyle, first: int, markers: Mapping[str, Any]
) -> None:
    """Draw mean and range of the epochs after `first`; those before the last phase are dashed."""
    start, epochs = max(curve.initialising, first), range(1, len(curve.mean) + 1)
    band = {"color": style.colour, "alpha": 0.18, "linewidth": 0}
    axes.fill_between(epochs[first:], curve.low[first:], curve.high[first:], **band)
    before = slice(first, start + 1)  # one epoch of the last phase too, so that there is no gap
    line: dict[str, Any] = {"color": style.colour, "linewidth": LINE}
    axes.plot(epochs[before], curve.mean[before], linestyle=DASHES, **line)
    axes.plot(epochs[start:], curve.mean[start:], **line, **markers)


def _write_missing(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Write how many seeds are done where some are missing, or why there are none."""
    done = sum(outcome.record is not None for outcome in outcomes)
    if not done:
        _write(axes, (0.5, 0.5), missing_reason(outcomes), "center", "center", GREY)
    elif done < len(outcomes):
        _write(axes, (0.95, 0.04), f"{done}/{len(outcomes)} seeds", "bottom", "right", GREY)


def _write(
    axes: Axes, at: tuple[float, float], words: str, vertical: str, horizontal: str, colour: str
) -> None:
    where: dict[str, Any] = {"ha": horizontal, "va": vertical, "transform": axes.transAxes}
    axes.text(*at, words, fontsize=6.5, color=colour, **where)


def _label_outer_axes(panels: Sequence[Sequence[Axes]]) -> None:
    """Show tick labels left of the first panel of a row, right of the last, and below columns."""
    starts = [index for index, (whole, _) in enumerate(panels) if _is_first(whole)]
    across = starts[1] if len(starts) > 1 else len(panels)
    for index, (whole, end) in enumerate(panels):
        end.yaxis.tick_right()
        end.spines["left"].set_visible(False)
        last_in_row = index + 1 in (*starts, len(panels))
        whole.tick_params(axis="y", labelleft=index in starts)
        end.tick_params(axis="y", labelright=last_in_row, length=2 if last_in_row else 0)
        if last_in_row:
            end.set_ylabel("last quarter (%)", fontsize=SMALL)
            end.yaxis.set_label_position("right")
        for axes in (whole, end):
            axes.tick_params(axis="x", labelbottom=index + across >= len(panels))


def _is_first(axes: Axes) -> bool:
    return bool(axes.get_subplotspec().is_first_col())  # type: ignore[union-attr]


def _add_legend(figure: Figure, references: Sequence[str], dropping: bool) -> None:
    handles: dict[str, Artist] = {
        "mean over seeds": Line2D([], [], color=INK, linewidth=LINE),
        "range over seeds": Patch(color=INK, alpha=0.18, linewidth=0),
        "initialising phase": Line2D([], [], color=INK, linewidth=LINE, linestyle=DASHES),
    }
    for name in references:
        handles[f"{name}, mean"] = Line2D([], [], **REFERENCES[name])
    if dropping:
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)
