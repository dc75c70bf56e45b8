"""In which order the two sides of a measurement take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def measure_in_turns(number: int, usual: Callable[[], A], suite: Callable[[], B]) -> tuple[A, B]:
    """Measure the usual side first in even rounds, the suite first in odd ones.

    A machine that slows down or speeds up then favours neither side.
    """
    if number % 2:
        suite_result = suite()
        return usual(), suite_result
    return usual(), suite()
