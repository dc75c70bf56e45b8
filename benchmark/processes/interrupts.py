"""Signals that end a process: turned into an exception, held back, or left ignored."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []
"""The ending signals that arrived. Their exception may have been swallowed."""


def interrupt(number: int, _frame: object) -> NoReturn:
    """Handle a signal as on Ctrl-C, so that claims are released on the way out."""
    _received.append(number)
    raise KeyboardInterrupt


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal asked this process to end.

    The handler has raised it before, but a library may have swallowed that: code that is called
    back from C, or `except:` around an import.
    """
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ending_signals(*numbers: int) -> Iterator[None]:
    """Let signals raise KeyboardInterrupt until the block has ended.

    A signal that this process inherited as ignored stays ignored: `nohup` and `trap '' HUP` say
    that it must not end the command. In threads other than the main one, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()
    before = {
        number: signal.signal(number, interrupt)
        for number in numbers
        if signal.getsignal(number) not in (signal.SIG_IGN, None)  # None: not set by Python
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP until the block has ended.

    Their Python handlers run then. In threads other than the main one, which never run handlers,
    this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {
        number: handler
        for number in ENDING_SIGNALS
        if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for interrupt in received[:1]:
            signal.raise_signal(interrupt)
