"""Hold out a part of the train images, for choosing parameters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmark.config.errors import UserError
from benchmark.data.draws import random_words
from benchmark.data.source import Images, Streamed

SEED = 5000
"""Seed of the split. It is fixed, so that all runs, seeds and methods hold out the same images."""


def split_held_out(
    images: Images | Streamed, count: int, classes: int
) -> tuple[Images | Streamed, Images | Streamed]:
    """Split train images into (rest, held out), both in their old order.

    Exactly ``count`` images are held out, stratified by class. Rounding gives the remaining ones to
    the classes with the largest remainders. Raises ``UserError`` if either part would be empty.
    """
    rest, validation = held_out_indices(images.labels.numpy(), count, classes)
    return images.pick(rest), images.pick(validation)


def held_out_indices(
    labels: npt.NDArray[np.int64], count: int, classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split the indices of labels in that way; return (rest, held out)."""
    total = len(labels)
    if not 0 < count < total:
        raise UserError(f"{count:,} of {total:,} train images cannot be held out")
    quota = proportional_counts(np.bincount(labels, minlength=classes), count)
    order = np.argsort(random_words(SEED, 0, "order", total), kind="stable")
    chosen = np.zeros(total, dtype=bool)
    for label, take in enumerate(quota):
        chosen[order[labels[order] == label][:take]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def proportional_counts(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Divide ``count`` over classes in proportion to their sizes, by largest remainders."""
    floors, remainders = np.divmod(sizes * count, sizes.sum())
    largest = np.argsort(-remainders, kind="stable")[: count - floors.sum()]
    floors[largest] += 1
    return floors
