"""Names beside points, so that none hides another or a point."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

from benchmark.report.plots.style import GREY, INK

Boxes = NDArray[np.float64]  # left, lower, right, upper; pixels
Points = NDArray[np.float64]

RINGS = (5.0, 9.0, 14.0, 21.0, 30.0, 41.0, 55.0)  # points: how far off a name may stand
WAYS = 24
NEAR = 8.0  # points: further off a line leads to the name
ROUNDS = 4
MARK = 3.5  # points: half a marker
HALO = [withStroke(linewidth=2, foreground="white")]
ON_NAME, ON_POINT, OUTSIDE, ASTRAY, ON_LINE = 60.0, 25.0, 100.0, 8.0, 1.5


def label(
    axes: Axes, names: Sequence[str], points: Points, others: Points, lines: Points, size: float
) -> list[Text]:
    """Write each name near its point; the figure must have its last layout.

    `others` are points without a name, `lines` what a name should rather not lie on: upright and
    level ones, two ends each; all in data coordinates. Every name takes the cheapest place around
    its point, given those of the others, and chooses again a few times.
    """
    if not names:
        return []
    texts = [
        axes.text(point[0], point[1], name, fontsize=size, color=INK, zorder=5, path_effects=HALO)
        for name, point in zip(names, points, strict=True)
    ]
    scale = axes.figure.dpi / 72
    sizes = np.array([text.get_window_extent().size for text in texts]) + 2 * scale
    place = axes.transData.transform
    at, every = place(points), place(np.concatenate([points, others]))
    ends = place(lines).reshape(-1, 2, 2)
    boxes = np.concatenate([ends.min(axis=1) - scale, ends.max(axis=1) + scale], axis=1)
    found = _settle(at, every, sizes, boxes, np.array(axes.bbox.extents), scale)
    for text, point, box in zip(texts, at, found, strict=True):
        _put(axes, text, point, box, scale)
    return texts


def _settle(
    at: Points, every: Points, sizes: Points, lines: Boxes, page: Boxes, scale: float
) -> Boxes:
    """A box for each name; those in a crowd choose first."""
    marks = np.concatenate([every - MARK * scale, every + MARK * scale], axis=1)
    apart = np.hypot(*(at[:, None] - every[None]).T).T
    order = np.argsort(np.sort(apart, axis=1)[:, 1 : 1 + 4].sum(axis=1), kind="stable")
    taken = np.full((len(at), 4), np.inf)
    for _ in range(ROUNDS):
        for i in order:
            boxes, far = _around(at[i], sizes[i], scale)
            cost = far + ON_NAME * _meets(boxes, np.delete(taken, i, axis=0))
            cost += ON_POINT * _meets(boxes, marks) + ON_LINE * _meets(boxes, lines)
            beyond = (boxes[:, :2] < page[:2]) | (boxes[:, 2:] > page[2:])
            cost += OUTSIDE * beyond.any(axis=1)
            own = _distance(boxes, at[i : i + 1])
            nearest = _distance(boxes, np.delete(every, i, axis=0))
            cost += ASTRAY * (nearest < own + scale)
            taken[i] = boxes[int(np.argmin(cost))]
    return taken


def _around(point: Points, size: Points, scale: float) -> tuple[Boxes, Points]:
    """Boxes of this size around a point, and how far off they are; the right side is preferred."""
    ways = np.linspace(0, 2 * np.pi, WAYS, endpoint=False)
    ring, way = (values.ravel() for values in np.meshgrid(np.array(RINGS) * scale, ways))
    toward = np.column_stack([np.cos(way), np.sin(way)])
    middle = point + ring[:, None] * toward + size / 2 * np.clip(1.6 * toward, -1, 1)
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    return boxes, ring / (RINGS[0] * scale) + 0.2 * (1 - toward[:, 0])


def _meets(boxes: Boxes, others: Boxes) -> Points:
    """How many of the others each box overlaps."""
    low = (boxes[:, None, :2] < others[None, :, 2:]).all(axis=2)
    high = (boxes[:, None, 2:] > others[None, :, :2]).all(axis=2)
    count: Points = (low & high).sum(axis=1).astype(float)
    return count


def _distance(boxes: Boxes, points: Points) -> Points:
    """From each box to the nearest of the points."""
    if not len(points):
        return np.full(len(boxes), np.inf)
    inside = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    found: Points = np.linalg.norm(inside - points[None], axis=2).min(axis=1)
    return found


def _put(axes: Axes, text: Text, point: Points, box: Boxes, scale: float) -> None:
    """Move a name to its box, with a line to it from a point that is not near."""
    back = axes.transData.inverted().transform
    text.set_position(tuple(back((box[:2] + box[2:]) / 2)))
    text.set(ha="center", va="center")
    near = np.clip(point, box[:2], box[2:])
    far = float(np.linalg.norm(near - point))
    if far > NEAR * scale:
        start = point + (near - point) * MARK * scale / far
        ends = back(np.array([start, near]))
        axes.plot(*ends.T, color=GREY, linewidth=0.5, zorder=2.5, scalex=False, scaley=False)
