"""Panels in rows and columns, a stack of them for each pair, with labels at the outer ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.report.plots.style import pair_title
from benchmark.report.results.outcomes import Results


class Spacing(NamedTuple):
    """How close things stand; lengths in inches."""

    across: int  # panels beside each other
    panel: float  # a panel's width, where there are several
    left: float  # what names and labels take beside them
    letters: int  # in a heading's line, where there are several
    row: float  # an accuracy panel's row
    marker: float  # points
    words: float  # points


ROOMY = Spacing(3, 3.1, 0, 30, 0.36, 6, 9.6)
DENSE = Spacing(6, 1.55, 1.2, 20, 0.22, 4.5, 7)


def panels(
    results: Results, heights: list[float], below: str, beside: list[str], space: Spacing
) -> tuple[Figure, list[list[Axes]]]:
    """For each pair a stack of panels of these heights in inches; outer ones have axis labels."""
    columns = results.manifest.columns
    down = math.ceil(len(columns) / space.across)
    across = math.ceil(len(columns) / down)
    width = 5.5 if across == 1 else max(5.5, space.left + space.panel * across)
    figure = Figure(figsize=(width, sum(heights) * down + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    shape = (down * len(heights), across)
    grid = figure.subplots(*shape, squeeze=False, height_ratios=heights * down)
    stacks = [list(column) for row in np.split(grid, down) for column in row.T]
    for axes in (axes for stack in stacks[len(columns) :] for axes in stack):
        axes.remove()
    several = len({column.dataset for column in columns}) > 1
    for index, (column, stack) in enumerate(zip(columns, stacks, strict=False)):
        stack[0].set_title(pair_title(column, several, space.letters if across > 1 else 56))
        if index + across >= len(columns) and space is ROOMY:
            stack[-1].set_xlabel(below)
        if index % across == 0:
            for axes, label in zip(stack, beside, strict=True):
                axes.set_ylabel(label)
    if space is DENSE:
        beneath([stack[-1] for stack in stacks[(down - 1) * across : len(columns)]], below)
    return figure, stacks[: len(columns)]


def beneath(bottom: Sequence[Axes], words: str) -> None:
    """One label for a row of panels, below its middle: it is wider than each of them."""
    odd = len(bottom) % 2
    bottom[(len(bottom) - 1) // 2].set_xlabel(words, x=0.5 if odd else 1.05)


def settle(figure: Figure) -> None:
    """Lay the panels out, once: a layout for each file would take as long as the drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
