"""What a picture shows: its texts, lines and points."""

from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

T = TypeVar("T")
Marks = dict[tuple[float, float], tuple[str, str, bool]]


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is drawn: ticks beyond the limits of their axis are not."""
    figure.canvas.draw()
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text not in beyond]
    return [text for text in found if text.get_text().strip()]


def words_of(figure: Figure) -> list[str]:
    """All texts, in the order in which they were written."""
    return [text.get_text() for text in texts_of(figure)]


def lines_of(axes: Axes, colour: str) -> list[Line2D]:
    """The lines of one colour."""
    return [line for line in axes.lines if to_hex(line.get_color()) == colour]


def across(line: Line2D) -> list[float]:
    """Where a line's points are from left to right."""
    values: list[float] = np.asarray(line.get_xdata()).tolist()
    return values


def markers(axes: Axes) -> Marks:
    """Every point by its place: its colour, its shape, whether it is hollow."""
    return {
        (across(line)[0], np.asarray(line.get_ydata()).tolist()[0]): (
            str(line.get_color()),
            str(line.get_marker()),
            line.get_markerfacecolor() == "white",
        )
        for line in axes.lines
        if line.get_marker() not in ("None", "")
    }


def there(found: T | None) -> T:
    """What is known to be there."""
    assert found is not None
    return found
