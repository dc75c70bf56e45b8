"""A heat map of paired differences to a reference: methods by pairs, blue above it, red below."""

import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.plots.canvas import Board
from benchmark.report.plots.style import GREY, INK, STYLE, cut, pair_title, robust_limits, width
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import Analysis
from benchmark.report.statistics.significance import LEVEL
from benchmark.report.tables.caption import DAGGERS
from benchmark.report.tables.layout import DASH, dagger, plus

HEAD = 7.5  # points
NAME = 8  # points
NUMBER = 6.8  # points
WIDEST = 1.5  # inches: a name
ROW = 0.2  # inches
NARROW, WIDE = 0.47, 0.8  # inches: columns under heads that are turned, and that are not
FEW = 6  # pairs whose heads are not turned
EDGE = 0.12  # inches
APART = 0.07  # inches: the means from the rest
DARK = 0.56  # luminance: on what is darker numbers are white


class Cell(NamedTuple):
    """A difference in points with its mark, or what is said where there is none."""

    value: float | None
    words: str


class Plan(NamedTuple):
    """Where things stand: lengths in inches, from the upper left corner."""

    left: float  # of the first column
    top: float  # of the first row
    across: float  # a column
    rows: int
    pairs: int
    columns: int  # one more where there are means
    turned: bool  # heads read from below

    def edge(self, column: int) -> float:
        """The left side of a column."""
        return self.left + self.across * column + APART * (column == self.pairs)

    @property
    def right(self) -> float:
        """The right side of the last column."""
        return self.edge(self.columns - 1) + self.across

    @property
    def floor(self) -> float:
        """Below the last row."""
        return self.top + ROW * self.rows


@mpl.rc_context(STYLE)
def draw(results: Results, analysis: Analysis, reference: str) -> Figure | None:
    """The picture; None of a single pair, or where fewer than two differences are known."""
    cells = _cells(results, analysis, reference)
    values = [cell.value for row in cells.values() for cell in row if cell.value is not None]
    if len(results.manifest.columns) < 2 or len(values) < 2:
        return None
    names, heads = [cut(name, NAME, WIDEST) for name in cells], _heads(results, cells)
    plan = _plan(names, heads, len(results.manifest.columns))
    note = textwrap.wrap(_note(results, analysis, reference), round(17 * (plan.right - EDGE)))
    board = Board(plan.right + EDGE, plan.floor + 0.66 + 0.13 * len(note) + EDGE)
    _label(board, plan, names, heads)
    most = -robust_limits([-abs(value) for value in values])[0]
    scale = ScalarMappable(Normalize(-most, most), sns.color_palette("vlag_r", as_cmap=True))
    _fill(board, plan, list(cells.values()), scale)
    beyond = max(map(abs, values)) > most
    _bar(board, plan, scale, f"difference to {reference} (percentage points)", beyond)
    board.text((EDGE, plan.floor + 0.66), "\n".join(note), "left", "top", 7, GREY)
    return board.finish()


def _cells(results: Results, analysis: Analysis, reference: str) -> dict[str, list[Cell]]:
    """Every method's row; the means are left out where no method has one."""
    rows = {
        name: _row(results, analysis, name, reference)
        for name in results.manifest.methods
        if name != reference
    }
    means = any(row[-1].words for row in rows.values())
    return rows if means else {name: row[:-1] for name, row in rows.items()}


def _row(results: Results, analysis: Analysis, name: str, reference: str) -> list[Cell]:
    """A method's differences by pair, and their mean where none is missing."""
    grid = results.manifest
    row = []
    for column in range(len(grid.columns)):
        key = (column, name, reference)
        ours, theirs = analysis.pairs.get(key, ((), ()))
        if all(outcome.state == "not applicable" for outcome in results.students[column, name]):
            row.append(Cell(None, DASH))
        elif len(ours) < len(grid.seeds):
            row.append(Cell(None, f"{len(ours)}/{len(grid.seeds)}"))
        else:
            value = fmean(ours) - fmean(theirs)
            mark = dagger(analysis.tests.get(key), analysis.references.index(reference))
            row.append(Cell(value, f"{plus(value)}{mark}"))
    known = [cell.value for cell in row if cell.value is not None]
    if len(known) < len(row):
        return [*row, Cell(None, "")]
    return [*row, Cell(fmean(known), plus(fmean(known)))]


def _heads(results: Results, cells: Mapping[str, Sequence[Cell]]) -> list[str]:
    columns = results.manifest.columns
    several = len({column.dataset for column in columns}) > 1
    heads = [*(pair_title(column, several, 16) for column in columns), "mean"]
    return heads[: max(map(len, cells.values()))]


def _plan(names: Sequence[str], heads: Sequence[str], pairs: int) -> Plan:
    turned = pairs > FEW
    lines = max(head.count("\n") for head in heads) + 1
    longest = max(width(line, HEAD) for head in heads for line in head.split("\n"))
    tall = longest if turned else 0.13 * lines
    across = max(NARROW, 0.13 * lines + 0.06) if turned else max(WIDE, longest + 0.1)
    left = EDGE + max(width(name, NAME) for name in names) + 0.1
    return Plan(left, EDGE + tall + 0.1, across, len(names), pairs, len(heads), turned)


def _label(board: Board, plan: Plan, names: Sequence[str], heads: Sequence[str]) -> None:
    """Methods left of their rows, pairs above their columns."""
    for row, name in enumerate(names):
        board.text((plan.left - 0.07, plan.top + ROW * (row + 0.5)), name, "right", "center", NAME)
    for column, head in enumerate(heads):
        at = (plan.edge(column) + plan.across / 2, plan.top - 0.06)
        if plan.turned:
            board.text(at, head, "left", "center", HEAD, turned=True)
        else:
            board.text(at, head, "center", "bottom", HEAD)


def _fill(board: Board, plan: Plan, rows: Sequence[Sequence[Cell]], scale: ScalarMappable) -> None:
    """Coloured cells with their numbers; what is not known is white and says why."""
    boxes, colours = [], []
    for row, cells in enumerate(rows):
        top, bottom = plan.top + ROW * row, plan.top + ROW * (row + 1)
        for column, cell in enumerate(cells):
            left = plan.edge(column)
            at = (left + plan.across / 2, (top + bottom) / 2)
            if cell.value is None:
                board.text(at, cell.words, "center", "center", NUMBER, GREY)
                continue
            colour = scale.to_rgba(np.array(cell.value))
            dark = np.dot(colour[:3], (0.2126, 0.7152, 0.0722)) < DARK
            board.text(at, cell.words, "center", "center", NUMBER, "white" if dark else INK)
            right = left + plan.across
            boxes.append([(left, top), (right, top), (right, bottom), (left, bottom)])
            colours.append(colour)
    drawn = PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.8)
    board.axes.add_collection(drawn, autolim=False)


def _bar(board: Board, plan: Plan, scale: ScalarMappable, label: str, beyond: bool) -> None:
    """What the colours mean, below the map."""
    across, length = board.figure.get_size_inches()
    wide = min(2.4, plan.right - plan.left)
    left = (plan.left + plan.right - wide) / 2
    place = (left / across, 1 - (plan.floor + 0.22) / length, wide / across, 0.1 / length)
    bar = board.figure.colorbar(
        scale,
        cax=board.figure.add_axes(place),
        orientation="horizontal",
        extend="both" if beyond else "neither",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2, pad=1.5)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.set_label(label, size=8, labelpad=2)


def _note(results: Results, analysis: Analysis, reference: str) -> str:
    n = len(results.manifest.seeds)
    mark = DAGGERS[analysis.references.index(reference)]
    sentences = [f"Means over {n} seeds, paired by seed; mean: over all pairs."]
    if any(
        test and test.significant for key, test in analysis.tests.items() if key[2] == reference
    ):
        sentences.append(
            f"{mark}: different by a paired t-test at {100 * LEVEL:.0f} % after Holm's correction "
            f"over {analysis.family} comparisons."
        )
    elif analysis.family:
        sentences.append(
            f"None differs by a paired t-test at {100 * LEVEL:.0f} % after Holm's correction over "
            f"{analysis.family} comparisons."
        )
    sentences.append(f"White: not applicable ({DASH}), or k of {n} seeds done (k/{n}).")
    return " ".join(sentences)
