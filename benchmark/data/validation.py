"""A part of train that is held out, for every choice that a person or a tuner makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from benchmark.data.source import Images
from benchmark.data.stream import draw
from benchmark.errors import UserError

SEED = 5000
"""Of the draw: fixed, so that all runs, seeds and methods hold out the same images."""


def held_out(images: Images, count: int, classes: int) -> tuple[Images, Images]:
    """Part train images into (rest, validation), both in their old order.

    Exactly ``count`` are held out, of each class its share, rounded: what is over goes to the
    classes with the largest remainders. Raises ``UserError`` where train would stay whole or empty.
    """
    total = len(images.labels)
    if not 0 < count < total:
        raise UserError(f"{count:,} of {total:,} train images cannot be held out")
    labels = images.labels.numpy()
    quota = shares(np.bincount(labels, minlength=classes), count)
    order = np.argsort(draw(SEED, 0, "order", total), kind="stable")
    chosen = np.zeros(total, dtype=bool)
    for label, take in enumerate(quota):
        chosen[order[labels[order] == label][:take]] = True
    rest, validation = (torch.from_numpy(np.flatnonzero(mask)) for mask in (~chosen, chosen))
    return pick(images, rest), pick(images, validation)


def pick(images: Images, indices: torch.Tensor) -> Images:
    """Copy some of the images."""
    return Images(images.pixels[indices], images.labels[indices])


def shares(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Divide ``count`` over classes in proportion, by largest remainders, in integers."""
    floors, remainders = np.divmod(sizes * count, sizes.sum())
    largest = np.argsort(-remainders, kind="stable")[: count - floors.sum()]
    floors[largest] += 1
    return floors
