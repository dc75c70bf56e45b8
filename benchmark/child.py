"""Calling a function in a process of its own."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import ParamSpec, TypeVar

from benchmark.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def in_a_child(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Return or raise what a module's function does, and forget what it had to import.

    A launcher lives as long as its jobs, and torch would cost it half a gigabyte all that time.
    """
    # Not a fork: the parent may have threads. On Ctrl-C the child ends and says nothing.
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin) as pool:
        try:
            return pool.submit(function, *args, **named).result()
        except BrokenProcessPool:
            raise UserError(
                "a process of this command was killed from outside (out of memory?); run it again"
            ) from None


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # For small tensors; several threads wait for each other where others use the cores.
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """Else a child of a parent that was killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
