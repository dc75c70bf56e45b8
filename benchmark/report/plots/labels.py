"""Names beside points, placed so that none covers another name or a point."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

from benchmark.report.plots.style import GREY, INK

Boxes = NDArray[np.float64]  # (n, 4): left, lower, right, upper; pixels
Points = NDArray[np.float64]  # (n, 2)

DISTANCES = (5.0, 9.0, 14.0, 21.0, 30.0, 41.0, 55.0, 72.0, 90.0)  # points: from a point to its name
DIRECTIONS = 24
LEADER_DISTANCE = 8.0  # points: a name further from its point gets a leader line
ROUNDS = 4
HALF_MARKER = 3.5  # points
HALO = [withStroke(linewidth=2, foreground="white")]
# Costs of a candidate box.
PER_NAME, PER_POINT, PER_LINE, OUTSIDE, NEARER_TO_OTHER = 60.0, 25.0, 1.5, 100.0, 8.0


def place_names(
    axes: Axes,
    names: Sequence[str],
    points: Points,
    unnamed: Points,
    lines: NDArray[np.float64],
    size: float,
) -> None:
    """Write each name near its point. The figure's layout must be final.

    `points` (n, 2) and `unnamed` (m, 2) are points in data coordinates; `lines` (k, 2, 2) are the
    two ends of vertical and horizontal lines that names should avoid. Each name takes the box of
    the lowest cost around its point, given the boxes of the others; all choose `ROUNDS` times.
    """
    if not names:
        return
    texts = [
        axes.text(point[0], point[1], name, fontsize=size, color=INK, zorder=5, path_effects=HALO)
        for name, point in zip(names, points.tolist(), strict=True)
    ]
    scale = axes.figure.dpi / 72
    sizes = np.array([text.get_window_extent().size for text in texts]) + 2 * scale
    to_pixels = axes.transData.transform
    named, every = to_pixels(points), to_pixels(np.concatenate([points, unnamed]))
    ends = to_pixels(lines.reshape(-1, 2)).reshape(-1, 2, 2)
    line_boxes = np.concatenate([ends.min(axis=1) - scale, ends.max(axis=1) + scale], axis=1)
    boxes = _choose_boxes(named, every, sizes, line_boxes, np.array(axes.bbox.extents), scale)
    for text, point, box in zip(texts, named, boxes, strict=True):
        _move(axes, text, point, box, scale)


def _choose_boxes(
    named: Points, every: Points, sizes: Points, lines: Boxes, axes_box: Boxes, scale: float
) -> Boxes:
    """Return a box for each name; names in the densest places choose first."""
    markers = np.concatenate([every - HALF_MARKER * scale, every + HALF_MARKER * scale], axis=1)
    distances = np.hypot(*(named[:, None] - every[None]).T).T
    order = np.argsort(np.sort(distances, axis=1)[:, 1 : 1 + 4].sum(axis=1), kind="stable")
    chosen = np.full((len(named), 4), np.inf)
    for _ in range(ROUNDS):
        for i in order:
            boxes, cost = _candidates(named[i], sizes[i], scale)
            cost = cost + PER_NAME * _overlaps(boxes, np.delete(chosen, i, axis=0))
            cost += PER_POINT * _overlaps(boxes, markers) + PER_LINE * _overlaps(boxes, lines)
            outside = (boxes[:, :2] < axes_box[:2]) | (boxes[:, 2:] > axes_box[2:])
            cost += OUTSIDE * outside.any(axis=1)
            own = _distance(boxes, named[i : i + 1])
            nearest_other = _distance(boxes, np.delete(every, i, axis=0))
            cost += NEARER_TO_OTHER * (nearest_other < own + scale)
            chosen[i] = boxes[int(np.argmin(cost))]
    return chosen


def _candidates(point: Points, size: Points, scale: float) -> tuple[Boxes, Points]:
    """Return boxes of this size around a point, and their costs: near and right are cheapest."""
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    distance, angle = (
        values.ravel() for values in np.meshgrid(np.array(DISTANCES) * scale, angles)
    )
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    middle = point + distance[:, None] * direction + size / 2 * np.clip(1.6 * direction, -1, 1)
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    return boxes, distance / (DISTANCES[0] * scale) + 0.2 * (1 - direction[:, 0])


def _overlaps(boxes: Boxes, others: Boxes) -> Points:
    """Return how many of the other boxes each box overlaps."""
    low = (boxes[:, None, :2] < others[None, :, 2:]).all(axis=2)
    high = (boxes[:, None, 2:] > others[None, :, :2]).all(axis=2)
    count: Points = (low & high).sum(axis=1).astype(float)
    return count


def _distance(boxes: Boxes, points: Points) -> Points:
    """Return the distance from each box to the nearest of the points."""
    if not len(points):
        return np.full(len(boxes), np.inf)
    nearest = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    distance: Points = np.linalg.norm(nearest - points[None], axis=2).min(axis=1)
    return distance


def _move(axes: Axes, text: Text, point: Points, box: Boxes, scale: float) -> None:
    """Move a name to its box, with a leader line if its point is not near."""
    to_data = axes.transData.inverted().transform
    text.set_position(tuple(to_data((box[:2] + box[2:]) / 2)))
    text.set(ha="center", va="center")
    near = np.clip(point, box[:2], box[2:])
    distance = float(np.linalg.norm(near - point))
    if distance > LEADER_DISTANCE * scale:
        start = point + (near - point) * HALF_MARKER * scale / distance
        ends = to_data(np.array([start, near]))
        axes.plot(*ends.T, color=GREY, linewidth=0.5, zorder=2.5, scalex=False, scaley=False)
