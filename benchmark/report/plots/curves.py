"""Training curves: test top-1 over the epochs, mean and range over seeds."""

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import MethodStyle, method_styles
from benchmark.report.plots import small_multiples
from benchmark.report.plots.panels import ROOMY, panels, settle
from benchmark.report.plots.style import (
    DASHES,
    DROP,
    GREY,
    MANY,
    STYLE,
    accuracy_curve,
    add_legend,
    common_learning_rate_drops,
    dataset_suffix,
    shorten,
)
from benchmark.report.results.outcomes import Outcome, Results


@mpl.rc_context(STYLE)
def draw(results: Results) -> Figure:
    """Test top-1 over the epochs, mean and range over seeds; below each panel its last quarter.

    The part of a line before the method's last phase, where it initialises, is dashed; grey lines
    from top to bottom are drops of the learning rate. Of more than ``MANY`` methods each has a
    panel of its own.
    """
    shown = method_styles(results.manifest.methods)
    if len(shown) > MANY:
        return small_multiples.draw(results)
    labels = [f"{results.manifest.measure}{dataset_suffix(results)} (%)", "last quarter (%)"]
    figure, stacks = panels(results, [2.3, 1.6], "epoch", labels, ROOMY)
    for index, (whole, end) in enumerate(stacks):
        for place, (name, look) in enumerate(shown.items()):
            _curve(whole, look, results.students[index, name], place, since=0.0)
            _curve(end, look, results.students[index, name], place, since=0.75)
        for epoch in common_learning_rate_drops(results, index):
            whole.axvline(epoch, **DROP)
            if epoch > end.dataLim.x0:
                end.axvline(epoch, **DROP)
    handles: dict[str, Artist] = {
        shorten(name): Line2D([], [], color=look.colour, marker=look.marker, markersize=4)
        for name, look in shown.items()
    }
    handles["initialising phase"] = Line2D([], [], color=GREY, linestyle=DASHES, linewidth=1.4)
    handles["range over seeds"] = Patch(color=GREY, alpha=0.2, linewidth=0)
    if any(common_learning_rate_drops(results, index) for index in range(len(stacks))):
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)
    settle(figure)
    return figure


def _curve(
    axes: Axes, look: MethodStyle, outcomes: tuple[Outcome, ...], place: int, since: float
) -> None:
    """One method's line from the fraction `since` of its epochs on; `place` staggers markers."""
    shown = accuracy_curve(outcomes)
    if shown is None:
        return
    first, last = int(since * len(shown.mean)), len(shown.mean)
    start = max(shown.initialising, first)
    epochs = range(1, last + 1)
    step = max(1, (last - first) // 6)
    axes.fill_between(
        epochs[first:],
        shown.low[first:],
        shown.high[first:],
        color=look.colour,
        alpha=0.18,
        linewidth=0,
    )
    # One epoch further than the phase, so that the line is whole.
    before = slice(first, start + 1)
    axes.plot(
        epochs[before],
        shown.mean[before],
        color=look.colour,
        linewidth=1.4,
        linestyle=DASHES,
        alpha=0.8,
    )
    axes.plot(
        epochs[start:],
        shown.mean[start:],
        color=look.colour,
        linewidth=1.4,
        marker=look.marker,
        markersize=4,
        markevery=(place % step, step),
    )
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
