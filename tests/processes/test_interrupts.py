"""Signals: an ignored one stays ignored, and one that a library swallows is seen later."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from benchmark.processes.interrupts import (
    ENDING_SIGNALS,
    deferred_interrupts,
    ending_signals,
    raise_if_interrupted,
)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    with ending_signals():  # forget what was received
        pass


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_that_was_ignored_before_stays_ignored(number: int):
    signal.signal(number, signal.SIG_IGN)
    with ending_signals(*ENDING_SIGNALS), deferred_interrupts():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_IGN
    raise_if_interrupted()


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_ends_the_block_and_the_handler_of_before_is_back(number: int):
    signal.signal(number, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), ending_signals(*ENDING_SIGNALS):
        signal.raise_signal(number)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_an_interrupt_that_a_library_swallows_is_raised_by_the_next_check():
    with ending_signals(*ENDING_SIGNALS):
        with contextlib.suppress(BaseException):  # as a bare `except:` does
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
