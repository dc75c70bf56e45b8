"""Run a function in a child process, whose memory is freed when it ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from benchmark.config.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def run_in_child_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return or raise what a module-level function returns or raises in a new process.

    A launcher lives as long as its jobs. If it imported torch itself, torch would take half a
    gigabyte during all that time. Raises UserError if the process is killed from outside.
    """
    context = get_context("spawn")  # not a fork: this process may have threads
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, args, kwargs))
    process.start()
    sender.close()
    try:
        result: T = _receive_result(receiver)
        return result
    finally:
        # The result is here. An orderly exit would take most of a second to unload torch.
        process.kill()
        process.join()
        receiver.close()


def _receive_result(pipe: Connection) -> Any:  # noqa: ANN401
    try:
        returned, value = pipe.recv()
    except EOFError:
        raise UserError(
            "a process of this command was killed from outside (out of memory?); run it again"
        ) from None
    if not returned:
        raise value
    return value


def _send_result(
    pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    _set_up()
    try:
        result = True, function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  (raised again in the parent)
        if not isinstance(error, UserError):
            error.add_note(f"in a child process:\n{traceback.format_exc()}")
        result = False, error
    sys.stdout.flush()
    sys.stderr.flush()
    pipe.send(result)
    pipe.close()
    os._exit(0)


def _set_up() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C, end without a traceback
    # Planning makes many objects, none of which becomes garbage: collect rarely.
    gc.set_threshold(100_000, 20, 20)
    # Tensors are small here, and threads that share busy cores wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """End this process when its parent ends, even if the parent was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
