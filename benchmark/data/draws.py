"""Random numbers from counters: the augmentation of image ``i`` in epoch ``e`` is a function.

So it does not depend on the batch, the process or a resume, and within a seed every method sees
the same pixels in the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
PURPOSES = {"order": 1, "down": 2, "right": 3, "flip": 4, "area": 5, "shape": 6}
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(words: Words) -> Words:
    """Hash 64-bit words by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def random_words(seed: int, epoch: int, purpose: str, count: int, attempt: int = 0) -> Words:
    """Return a random 64-bit word for each index below ``count``, equal on every machine."""
    key = np.zeros(1, dtype=np.uint64)
    for part in (seed, epoch, PURPOSES[purpose] + len(PURPOSES) * attempt):
        key = mix(key + GOLDEN * np.array([part + 1], dtype=np.uint64))
    return mix(key + GOLDEN * np.arange(count, dtype=np.uint64))


def below(words: Words, bound: int | Integers) -> Integers:
    """Map words to integers in [0, bound), evenly to one part in 2^32."""
    high = words >> np.uint64(32)
    return (high * np.asarray(bound, np.uint64) >> np.uint64(32)).astype(np.int64)


def fraction(words: Words) -> npt.NDArray[np.float64]:
    """Map words to [0, 1), evenly to one part in 2^53."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
