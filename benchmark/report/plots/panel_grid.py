"""Where the panels of small multiples stand on the page."""

import math
from typing import NamedTuple

BETWEEN = 0.05  # inches: from a panel's left half to its right one
SAID = 4  # of a pair's right halves, which have the same axis, every so manieth has numbers
SIDE = 0.28  # inches: what numbers at the side of a panel take


class PanelGrid(NamedTuple):
    """Where the panels stand: lengths in inches, from the upper left corner."""

    rows: int
    columns: int
    bands: int  # how often the rows begin anew, further right
    halves: tuple[float, float]  # widths
    height: float  # of a panel
    right: float  # from a panel to the one beside it
    down: float  # from a panel to the one below it
    again: float  # from a band to the next
    left: float
    head: float
    foot: float = 0.78

    @property
    def panel(self) -> float:
        """The width of a panel."""
        return sum(self.halves) + BETWEEN

    @property
    def lines(self) -> int:
        """How many panels stand below each other."""
        return math.ceil(self.rows / self.bands)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the picture."""
        width = (self.bands - 1) * self.again + (self.columns - 1) * self.right + self.panel
        return self.left + width + SIDE + 0.3, self.floor + self.foot

    @property
    def floor(self) -> float:
        """The lower edge of the lowest panels."""
        return self.head + (self.lines - 1) * self.down + self.height

    def at(self, row: int, column: int) -> tuple[float, float]:
        """The upper left corner of a panel."""
        line, band = self._place(row)
        x = self.left + band * self.again + column * self.right
        return x, self.head + line * self.down

    def outer(self, row: int, column: int) -> tuple[bool, bool, bool]:
        """Whether a panel has numbers on its left, on its right, below."""
        line, band = self._place(row)
        last = row == self.rows - 1
        if self.columns == 1:
            return band == 0, last or band == self.bands - 1, row + self.bands >= self.rows
        lowest = last or line == self.lines - 1
        return column == 0, lowest or line % SAID == 0, lowest

    def _place(self, row: int) -> tuple[int, int]:
        """Line and band of a row: with one pair rows are read across, with several down."""
        if self.columns == 1:
            return divmod(row, self.bands)
        band, line = divmod(row, self.lines)
        return line, band


def lay(rows: int, columns: int, names: float, headings: int) -> PanelGrid:
    """A sheet for names so many inches wide and headings of so many lines.

    One pair has about five panels across, with the names above them; several have about six, with
    the names on their left and, of two or three pairs, further bands beside the first.
    """
    head = 0.16 + 0.14 * headings
    if columns == 1:
        bands = math.ceil(rows / math.ceil(rows / 5))
        beside = 0.74 + BETWEEN + 0.60 + 0.20
        return PanelGrid(
            rows, 1, bands, (0.74, 0.60), 0.82, beside, 1.12, beside, left=0.55, head=head + 0.25
        )
    beside = 0.70 + BETWEEN + 0.54 + SIDE + 0.06
    left = 0.3 + names + 0.1 + SIDE
    again = columns * beside + left - 0.2
    bands = max(1, 6 // columns)
    return PanelGrid(
        rows, columns, bands, (0.70, 0.54), 0.44, beside, 0.53, again, left, head + 0.08
    )
