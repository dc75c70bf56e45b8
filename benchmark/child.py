"""Calling a function in a process of its own."""

import signal
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
    # Not a fork: the parent may have threads. On Ctrl-C the child ends and says nothing.
    on_interrupt = (signal.SIGINT, signal.SIG_DFL)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=signal.signal, initargs=on_interrupt) as pool:
        return pool.submit(function, *args, **named).result()
