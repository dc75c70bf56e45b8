"""Many small panels on one Axes, which counts in inches: hundreds of Axes would take a minute."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from benchmark.report.plots.style import INK, NUMBERS

DOTS = 120  # an inch: of what lies closer the eye sees nothing

Points = NDArray[np.float64]


Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]


class LineStyle(NamedTuple):
    """How lines are drawn; what has the same pen is drawn at once."""

    colour: str
    width: float  # points
    dashes: Dashes = "solid"
    order: float = 2


FRAME = LineStyle("0.15", 0.6, order=3)


class Panel(NamedTuple):
    """A rectangle of the page, inches from its upper left corner, and what its axes show."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    def at(self, x: ArrayLike, y: ArrayLike) -> Points:
        """Where points lie on the page."""
        across = (np.asarray(x, float) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(y, float) - self.y[0]) / (self.y[1] - self.y[0])
        across, up = np.broadcast_arrays(across, up)
        return np.column_stack(
            [self.left + self.width * across.ravel(), self.bottom - self.height * up.ravel()]
        )


class Canvas:
    """A page to draw on: collects lines and areas by their look, then hands them over at once."""

    def __init__(self, width: float, length: float) -> None:
        self.figure = Figure(figsize=(width, length))
        FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(length, 0), xticks=[], yticks=[])
        self.axes.set_axis_off()
        self._lines: dict[LineStyle, list[Points]] = {}
        self._areas: dict[tuple[str, float, float], list[Points]] = {}

    def line(self, pen: LineStyle, points: Points) -> None:
        """A line through points of the page."""
        if len(points):
            self._lines.setdefault(pen, []).append(points)

    def curve(self, panel: Panel, pen: LineStyle, x: ArrayLike, y: ArrayLike) -> None:
        """A line in a panel, cut off at its lower edge, thinned to what can be seen."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        places = thin(len(x), panel.width)
        self.line(pen, panel.at(*_above(x[places], y[places], panel.y[0])))

    def tick(self, *ends: float) -> None:
        """A short line of a frame: x and y of its ends."""
        self.line(FRAME, np.reshape(ends, (2, 2)))

    def band(
        self,
        panel: Panel,
        colour: str,
        x: ArrayLike,
        low: ArrayLike,
        high: ArrayLike,
    ) -> None:
        """What lies between two lines in a panel."""
        x = np.asarray(x, float)
        places = thin(len(x), panel.width)
        if len(places) > 1:
            across = x[places]
            ends = [np.maximum(np.asarray(side)[places], panel.y[0]) for side in (low, high)]
            forth, back = panel.at(across, ends[1]), panel.at(across, ends[0])[::-1]
            self.area(colour, np.concatenate([forth, back]), alpha=0.18, order=1.8)

    def area(self, colour: str, points: Points, alpha: float = 1, order: float = 0) -> None:
        """A filled shape."""
        self._areas.setdefault((colour, alpha, order), []).append(points)

    def ground(self, colour: str, panel: Panel, left: float | None = None) -> None:
        """A panel's ground, or from `left` on, in inches."""
        begin = panel.left if left is None else left
        edges = [(begin, panel.top), (panel.right, panel.top)]
        edges += [(panel.right, panel.bottom), (begin, panel.bottom)]
        self.area(colour, np.array(edges))

    def levels(self, panel: Panel, pen: LineStyle, levels: Sequence[float]) -> None:
        """Lines from a panel's left to its right."""
        for level in levels:
            self.line(pen, panel.at(panel.x, level))

    def uprights(self, panel: Panel, pen: LineStyle, places: Sequence[float]) -> None:
        """Lines from a panel's top to its bottom."""
        for place in places:
            self.line(pen, panel.at(place, panel.y))

    def text(
        self,
        at: tuple[float, float],
        words: str,
        side: Literal["left", "center", "right"],
        rest: Literal["bottom", "center", "top"],
        size: float = NUMBERS,
        colour: str = INK,
        ground: str | None = None,
        turned: bool = False,
    ) -> None:
        """Words at a place of the page, which is at their `side` and at their `rest`."""
        look: dict[str, Any] = {"fontsize": size, "color": colour, "rotation": 90 * turned}
        if ground is not None:
            look["bbox"] = {"facecolor": ground, "linewidth": 0, "pad": 0.5}
        self.axes.text(*at, words, ha=side, va=rest, rotation_mode="anchor", zorder=4, **look)

    def finish(self) -> Figure:
        """The page with all that was drawn."""
        for pen, lines in self._lines.items():
            look = {"colors": pen.colour, "linewidths": pen.width, "linestyles": [pen.dashes]}
            drawn = LineCollection(lines, zorder=pen.order, capstyle="butt", **look)
            self.axes.add_collection(drawn, autolim=False)
        for (colour, alpha, order), areas in self._areas.items():
            shape = PolyCollection(areas, facecolors=colour, alpha=alpha, linewidths=0)
            shape.set_zorder(order)
            self.axes.add_collection(shape, autolim=False)
        return self.figure


def thin(points: int, inches: float) -> NDArray[np.intp]:
    """The places of as many of so many points as can be told apart; first and last always."""
    most = max(2, round(DOTS * inches))
    return np.unique(np.linspace(0, points - 1, min(points, most)).round().astype(np.intp))


def _above(x: Points, y: Points, low: float) -> tuple[Points, Points]:
    """The part of a line that lies above `low`, with gaps between."""
    x, y = x.astype(float), y.astype(float)
    cross = np.flatnonzero((y[:-1] < low) != (y[1:] < low))
    share = (low - y[cross]) / (y[cross + 1] - y[cross])
    x = np.insert(x, cross + 1, x[cross] + share * (x[cross + 1] - x[cross]))
    y = np.insert(y, cross + 1, low)
    return x, np.where(y < low, np.nan, y)
