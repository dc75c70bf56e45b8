"""A heat map of paired differences to a reference: methods by pairs, blue above it, red below."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.plots.style import (
    GREY,
    SMALL,
    freeze_layout,
    pair_title,
    panel_grid,
    robust_limits,
    styled,
)
from benchmark.report.plots.text import shorten
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import Analysis
from benchmark.report.statistics.significance import ALPHA
from benchmark.report.tables.caption import SIGNIFICANCE_MARKS
from benchmark.report.tables.layout import (
    DASH,
    format_signed,
    pair_heading,
    significance_mark,
)

FEW_PAIRS = 6  # whose titles are horizontal
HEAD_WIDTH = 1.05  # inches: a line of a title
HEAD, NAME, NUMBER = 7.5, 8, 6.8  # points
ROW = 0.21  # inches


class Cell(NamedTuple):
    """A difference in percentage points and its text, or the text alone where there is none."""

    value: float | None
    text: str


def draw(results: Results, analysis: Analysis, reference: str) -> Iterator[Figure]:
    """Yield the picture; none of a single pair, or if fewer than two differences are known."""
    cells = _cells(results, analysis, reference)
    known = [cell.value for row in cells.values() for cell in row if cell.value is not None]
    if len(results.manifest.columns) > 1 and len(known) > 1:
        yield _draw(results, analysis, reference, cells, known)


def _cells(results: Results, analysis: Analysis, reference: str) -> dict[str, list[Cell]]:
    """Return each method's row; its last cell is the mean, left out if no method has one."""
    rows = {
        name: _row(results, analysis, name, reference)
        for name in results.manifest.methods
        if name != reference
    }
    means = any(row[-1].text for row in rows.values())
    return rows if means else {name: row[:-1] for name, row in rows.items()}


def _row(results: Results, analysis: Analysis, name: str, reference: str) -> list[Cell]:
    """Return a method's differences by pair, and their mean if none is missing."""
    grid = results.manifest
    row = []
    for column in range(len(grid.columns)):
        key = (column, name, reference)
        tops, reference_tops = analysis.pairs.get(key, ((), ()))
        if all(outcome.state == "not applicable" for outcome in results.students[column, name]):
            row.append(Cell(None, DASH))
        elif len(tops) < len(grid.seeds):
            row.append(Cell(None, f"{len(tops)}/{len(grid.seeds)}"))
        else:
            value = fmean(tops) - fmean(reference_tops)
            mark = significance_mark(analysis.tests.get(key), analysis.references.index(reference))
            row.append(Cell(value, f"{format_signed(value)}{mark}"))
    known = [cell.value for cell in row if cell.value is not None]
    if len(known) < len(row):
        return [*row, Cell(None, "")]
    return [*row, Cell(fmean(known), format_signed(fmean(known)))]


@styled
def _draw(
    results: Results,
    analysis: Analysis,
    reference: str,
    cells: Mapping[str, Sequence[Cell]],
    known: Sequence[float],
) -> Figure:
    pairs, columns = len(results.manifest.columns), max(map(len, cells.values()))
    turned = pairs > FEW_PAIRS
    width = 1.6 + (0.52 if turned else 1.05) * columns
    note = textwrap.fill(_note(results, analysis, reference), round(16 * max(5.5, width)))
    height = ROW * len(cells) + (1.6 if turned else 0.9) + 0.12 * note.count("\n")
    figure, [[axes]] = panel_grid(1, 1, [width], [height])
    limit = -robust_limits([-abs(value) for value in known])[0]
    _draw_cells(axes, list(cells.values()), limit)
    axes.axvline(pairs, color="white", linewidth=5)  # sets the means apart
    title = _turned_title if turned else pair_title
    titles = [title(results, column, HEAD_WIDTH) for column in range(pairs)]
    heads = [*titles, "mean"][:columns]
    axes.set_xticks(np.arange(columns) + 0.5, heads, fontsize=HEAD, rotation=90 * turned)
    names = [shorten(name, 1.5, NAME) for name in cells]
    axes.set_yticks(np.arange(len(cells)) + 0.5, names, fontsize=NAME, rotation=0)
    axes.tick_params(length=0, pad=3)
    axes.xaxis.tick_top()
    bar = figure.colorbar(
        axes.collections[0],
        ax=axes,
        orientation="horizontal",
        extend="both" if max(map(abs, known)) > limit else "neither",
        fraction=0.1 / height,
        aspect=24,
        pad=0.03,
        ticks=MaxNLocator(4, steps=[1, 2, 5, 10]),
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
    bar.set_label(f"difference to {reference} (percentage points)", size=8, labelpad=2)
    figure.supxlabel(note, fontsize=SMALL, color=GREY)
    freeze_layout(figure)
    return figure


def _turned_title(results: Results, column: int, width: float) -> str:
    """Return a title of two lines, as a narrow column has no room for more."""
    columns = results.manifest.columns
    teacher, student = pair_heading(columns[column], len({one.dataset for one in columns}) > 1)
    return f"{shorten(teacher, 1.2 * width, HEAD)} →\n{shorten(student, 1.3 * width, HEAD)}"


def _draw_cells(axes: Axes, rows: Sequence[Sequence[Cell]], limit: float) -> None:
    """Draw coloured cells with their numbers; cells without a value are white."""
    values = [[np.nan if cell.value is None else cell.value for cell in row] for row in rows]
    sns.heatmap(
        np.array(values, float),
        annot=[[cell.text for cell in row] for row in rows],
        fmt="",
        annot_kws={"fontsize": NUMBER},
        cmap="vlag_r",
        vmin=-limit,
        vmax=limit,
        linewidths=0.8,
        cbar=False,
        ax=axes,
    )
    axes.grid(visible=False)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            if cell.value is None:  # seaborn writes nothing there
                where = (column + 0.5, row + 0.5)
                axes.text(*where, cell.text, ha="center", va="center", fontsize=NUMBER, color=GREY)


def _note(results: Results, analysis: Analysis, reference: str) -> str:
    seeds = len(results.manifest.seeds)
    mark = SIGNIFICANCE_MARKS[analysis.references.index(reference)]
    test = f"by a paired t-test at {100 * ALPHA:.0f} % after Holm's correction over"
    sentences = [f"Means over {seeds} seeds, paired by seed; mean: over all pairs."]
    tests = [found for key, found in analysis.tests.items() if key[2] == reference]
    if any(found and found.significant for found in tests):
        sentences.append(f"{mark}: different {test} {analysis.family} comparisons.")
    elif analysis.family:
        sentences.append(f"None differs {test} {analysis.family} comparisons.")
    sentences.append(f"White: not applicable ({DASH}), or k of {seeds} seeds done (k/{seeds}).")
    return " ".join(sentences)
