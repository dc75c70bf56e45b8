"""Training curves: a panel for each pair, and below it its last quarter, magnified."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
    draw_mean_and_range,
    first_history,
    learning_rate_drops,
)
from benchmark.report.plots.style import (
    DASHES,
    DROP,
    GREY,
    LABEL,
    MAX_LINES,
    MAX_PANELS,
    SMALL,
    add_legend,
    dataset_suffix,
    freeze_layout,
    is_leftmost,
    label_below,
    missing_reason,
    pair_title,
    panel_grid,
    robust_limits,
    split_into_pages,
    styled,
)
from benchmark.report.plots.text import shorten, wrap
from benchmark.report.results.outcomes import Results

REFERENCES = ("scratch", "kd")
"""Drawn in every picture of a suite whose methods need several."""
MAX_NEW = 8
"""Methods besides `REFERENCES` in one picture: `method_styles` has as many free styles."""
WIDTH = 3.1  # inches: a panel
LINE = 1.4  # points
OWN_DROP: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 9, "markeredgewidth": 1.2}

Curves = Mapping[tuple[int, str], AccuracyCurve | None]


class Limits(NamedTuple):
    """Axis limits of a pair's two axes."""

    first: int
    """Epochs before the last quarter."""
    last: int
    top1: tuple[float, float]
    late_top1: tuple[float, float]
    """Those of the last quarter; curves far below the others are outside."""


def draw(results: Results) -> Iterator[Figure]:
    """Yield pictures of top-1 over the epochs, mean and range over the finished seeds.

    Epochs before a method's last phase are dashed. A picture has at most `MAX_LINES` methods, each
    with a colour of its own; all pictures of a pair have the same axis limits.
    """
    curves = {key: accuracy_curve(outcomes) for key, outcomes in results.students.items()}
    for columns in split_into_pages(range(len(results.manifest.columns)), MAX_PANELS // 2):
        for methods in method_groups(results.manifest.methods):
            yield _draw_page(results, curves, columns, methods)


def method_groups(methods: Sequence[str]) -> list[Sequence[str]]:
    """Return groups of methods that can share a panel; scratch and kd are in each of them."""
    styles = method_styles(methods)
    if len(styles) <= MAX_LINES and len(set(styles.values())) == len(styles):
        return [methods]
    references = [name for name in REFERENCES if name in methods]
    others = [name for name in methods if name not in references]
    return [[*references, *group] for group in split_into_pages(others, MAX_NEW)]


def shared_limits(curves: Curves, column: int) -> Limits | None:
    """Return the axis limits of a pair, for all of its methods; None without a finished run."""
    known = [curve for (pair, _), curve in curves.items() if curve and pair == column]
    if not known:
        return None
    last = max(len(curve.mean) for curve in known)
    first = 3 * last // 4
    values = [value for curve in known for value in (*curve.low, *curve.high)]
    margin = 0.05 * (max(values) - min(values)) or 0.5
    late = [value for curve in known for value in (*curve.low[first:], *curve.high[first:])]
    return Limits(
        first, last, (min(values) - margin, max(values) + margin), robust_limits(late or values)
    )


@styled
def _draw_page(
    results: Results, curves: Curves, columns: Sequence[int], methods: Sequence[str]
) -> Figure:
    styles = method_styles(methods)
    figure, panels = panel_grid(len(columns), 3, [WIDTH], [2.3, 1.6], left=0.4)
    label = wrap(f"{results.manifest.measure}{dataset_suffix(results)} (%)", 1.65, LABEL)
    kinds_of_drops = set()
    for column, (whole, end) in zip(columns, panels, strict=True):
        whole.set_title(pair_title(results, column, 5 if len(columns) == 1 else WIDTH - 0.9))
        if is_leftmost(whole):
            whole.set_ylabel(label)
            end.set_ylabel("last quarter (%)")
        _write_missing(whole, results, column, methods)
        limits = shared_limits(curves, column)
        if limits is None:
            whole.set(xticks=[], yticks=[])
            end.set(xticks=[], yticks=[])
            continue
        _set_limits(whole, 1, limits.last, limits.top1)
        _set_limits(end, limits.first + 1, limits.last, limits.late_top1)
        for order, (name, style) in enumerate(styles.items()):
            if curve := curves[column, name]:
                _draw_curve(whole, curve, style, 0, order)
                _draw_curve(end, curve, style, limits.first, order)
        _write_far_below(end, {name: curves[column, name] for name in methods}, limits)
        kinds_of_drops.add(_mark_drops(results, curves, column, styles, (whole, end)))
    label_below(panels, "epoch")
    add_legend(figure, _legend(styles, kinds_of_drops))
    freeze_layout(figure)
    return figure


def _set_limits(axes: Axes, first: int, last: int, top1: tuple[float, float]) -> None:
    margin = 0.03 * (last - first) or 0.5
    axes.set(xlim=(first - margin, last + margin), ylim=top1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _draw_curve(
    axes: Axes, curve: AccuracyCurve, style: MethodStyle, first: int, order: int
) -> None:
    """Draw the epochs after `first`; those before the last phase are dashed.

    `order` staggers the markers of several methods.
    """
    start, epochs = max(curve.initialising, first), range(1, len(curve.mean) + 1)
    line: dict[str, Any] = {"color": style.colour, "linewidth": LINE}
    if start > first:
        # One epoch of the last phase is included, so that there is no gap.
        before = slice(first, start + 1)
        values = (curve.mean[before], curve.low[before], curve.high[before])
        draw_mean_and_range(axes, epochs[before], *values, linestyle=DASHES, **line)
    step = max(1, (len(curve.mean) - start) // 6)
    draw_mean_and_range(
        axes,
        epochs[start:],
        curve.mean[start:],
        curve.low[start:],
        curve.high[start:],
        marker=style.marker,
        markersize=4,
        markevery=(order % step, step),
        **line,
    )


def _write_missing(axes: Axes, results: Results, column: int, methods: Sequence[str]) -> None:
    """Write in the lower right corner, which curves seldom reach, which methods lack seeds."""
    names: dict[str, list[str]] = {}
    for name in methods:
        if reason := missing_reason(results.students[column, name]):
            names.setdefault(reason, []).append(shorten(name, 1.2, SMALL))
    lines = [f"{reason}: {', '.join(here)}" for reason, here in names.items()]
    if len(names) == 1 and all(len(here) == len(methods) for here in names.values()):
        lines = list(names)
    if not lines:
        return
    text = "\n".join(wrap(line, 2, SMALL) for line in lines)
    axes.text(
        *(0.98, 0.03, text),
        ha="right",
        va="bottom",
        transform=axes.transAxes,
        fontsize=SMALL,
        color=GREY,
        zorder=4,
    )


def _write_far_below(
    axes: Axes, curves: Mapping[str, AccuracyCurve | None], limits: Limits
) -> None:
    """Write the last value of each curve that is below the axis limits."""
    below = [
        f"{shorten(name, 1.2, SMALL)} ▾ {curve.mean[-1]:.1f}"
        for name, curve in curves.items()
        if curve and max(curve.high[limits.first :], default=100) < limits.late_top1[0]
    ]
    if not below:
        return
    text = wrap(", ".join(below), 2, SMALL)
    where: dict[str, Any] = {"ha": "left", "va": "bottom", "transform": axes.transAxes}
    ground = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}
    axes.text(0.02, 0.03, text, fontsize=SMALL, color=GREY, zorder=5, bbox=ground, **where)


def _mark_drops(
    results: Results,
    curves: Curves,
    column: int,
    styles: Mapping[str, MethodStyle],
    panel: Sequence[Axes],
) -> str:
    """Mark where the learning rate drops; return "shared", "own", or "" if it drops nowhere.

    If all methods have the same drops, they are vertical lines. Else, since phases differ, they
    are marks on each method's own curve.
    """
    drops = {
        name: learning_rate_drops(history)
        for name in styles
        if (history := first_history(results.students[column, name]))
    }
    if not any(drops.values()):
        return ""
    if len(set(drops.values())) == 1:
        for axes in panel:
            low, high = axes.get_xlim()
            for epoch in next(iter(drops.values())):
                if low < epoch < high:
                    axes.axvline(epoch, **DROP)
        return "shared"
    for name, epochs in drops.items():
        if curve := curves[column, name]:
            tops = [curve.mean[epoch - 1] for epoch in epochs]
            for axes in panel:
                axes.plot(epochs, tops, color=styles[name].colour, **OWN_DROP)
    return "own"


def _legend(styles: Mapping[str, MethodStyle], kinds_of_drops: set[str]) -> dict[str, Artist]:
    handles: dict[str, Artist] = {
        shorten(name, 1.5, 8): Line2D([], [], color=style.colour, marker=style.marker, markersize=4)
        for name, style in styles.items()
    }
    handles["initialising phase"] = Line2D([], [], color=GREY, linestyle=DASHES, linewidth=LINE)
    handles["range over seeds"] = Patch(color=GREY, alpha=0.2, linewidth=0)
    if "shared" in kinds_of_drops:
        handles["learning rate drops"] = Line2D([], [], **DROP)
    if "own" in kinds_of_drops:
        handles["learning rate drops (each its own)"] = Line2D([], [], color=GREY, **OWN_DROP)
    return handles
