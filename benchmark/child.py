"""Calling a function in a process of its own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_a_child(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Return or raise what a module's function does, and forget what it had to import.

    A launcher lives as long as its jobs, and torch would cost it half a gigabyte all that time.
    """
    # Not a fork: the parent may have threads.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **named).result()
