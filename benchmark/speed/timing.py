"""How every measurement here is timed, and in which order the two sides take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from benchmark.training.meters import Clock, Times

A = TypeVar("A")
B = TypeVar("B")


def time_work(device: torch.device, work: Callable[[], object]) -> Times:
    """Call ``work`` once and return its (2,) seconds: of work, then by the wall clock.

    On a CPU, work is the CPU time of this process. On a GPU both numbers are the time from an idle
    device to the end of everything that ``work`` queued, host time included.
    """
    if device.type == "cuda":
        # Work that is still queued would hide how long the host takes to launch this.
        torch.cuda.synchronize(device)
    clock = Clock(device)
    start = clock.now()
    work()
    return clock.between(start, clock.now())


def measure_in_turns(number: int, usual: Callable[[], A], suite: Callable[[], B]) -> tuple[A, B]:
    """Measure the usual side first in even rounds, the suite first in odd ones.

    A machine that slows down or speeds up then favours neither side.
    """
    if number % 2:
        suite_result = suite()
        return usual(), suite_result
    return usual(), suite()
