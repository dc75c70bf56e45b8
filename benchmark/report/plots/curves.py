"""Training curves of up to ten methods: a panel for each pair, and below it its last quarter."""

from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.report.palette import method_styles
from benchmark.report.plots import small_multiples
from benchmark.report.plots.history import (
    accuracy_curve,
    common_learning_rate_drops,
)
from benchmark.report.plots.style import (
    DASHES,
    DROP,
    GREY,
    MANY_METHODS,
    MAX_PANELS,
    STYLE,
    add_legend,
    dataset_suffix,
    freeze_layout,
    label_below,
    pair_title,
    panel_grid,
    shorten,
    split_into_pages,
)
from benchmark.report.results.outcomes import Results


def draw(results: Results) -> Iterator[Figure]:
    """Yield pictures of top-1 over the epochs, mean and range over seeds.

    Epochs before a method's last phase are dashed; dotted vertical lines mark drops of the
    learning rate. With more than `MANY_METHODS` methods each has a panel of its own.
    """
    if len(results.manifest.methods) > MANY_METHODS:
        yield from small_multiples.draw(results)
        return
    for page in split_into_pages(range(len(results.manifest.columns)), MAX_PANELS // 2):
        with mpl.rc_context(STYLE):
            yield _draw_page(results, page)


def _draw_page(results: Results, columns: Sequence[int]) -> Figure:
    styles = method_styles(results.manifest.methods)
    figure, panels = panel_grid(len(columns), 3, [3.1], [2.2, 1.6])
    drops = {column: common_learning_rate_drops(results, column) for column in columns}
    for column, (whole, end) in zip(columns, panels, strict=True):
        whole.set_title(pair_title(results, column, 56 if len(columns) == 1 else 34))
        for order, (name, style) in enumerate(styles.items()):
            if curve := accuracy_curve(results.students[column, name]):
                first = int(0.75 * len(curve.mean))
                for axes, start in ((whole, 0), (end, first)):
                    step = max(1, (len(curve.mean) - start) // 6)
                    every = (order % step, step)  # other epochs for each method
                    marker = {"marker": style.marker, "markersize": 4, "markevery": every}
                    small_multiples.draw_curve(axes, curve, style, start, marker)
        for axes in (whole, end):
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            for epoch in drops[column]:
                if epoch > axes.dataLim.x0:
                    axes.axvline(epoch, **DROP)
        if whole.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            whole.set_ylabel(f"{results.manifest.measure}{dataset_suffix(results)} (%)")
            end.set_ylabel("last quarter (%)")
    label_below(panels, "epoch")
    handles: dict[str, Artist] = {
        shorten(name): Line2D([], [], color=style.colour, marker=style.marker, markersize=4)
        for name, style in styles.items()
    }
    handles["initialising phase"] = Line2D([], [], color=GREY, linestyle=DASHES, linewidth=1.4)
    handles["range over seeds"] = Patch(color=GREY, alpha=0.2, linewidth=0)
    if any(drops.values()):
        handles["learning rate drops"] = Line2D([], [], **DROP)
    add_legend(figure, handles)
    freeze_layout(figure)
    return figure
