"""Run a function in a child process, whose memory is freed when it ends."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from benchmark.config.errors import UserError
from benchmark.processes.contract import format_exit_status
from benchmark.processes.screen import tolerant_output

P = ParamSpec("P")
T = TypeVar("T")


def run_in_child_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return or raise what a module-level function returns or raises in a new process.

    A launcher lives as long as its jobs. If it imported torch itself, torch would take half a
    gigabyte during all that time. Raises UserError if the process ends without a result.
    """
    context = get_context("spawn")  # not a fork: this process may have threads
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, args, kwargs))
    with _quiet_start():
        process.start()
    sender.close()
    try:
        returned, value = receiver.recv()
    except EOFError:
        process.join()
        assert process.exitcode is not None
        raise UserError(_explain_end(process.exitcode)) from None
    finally:
        # The result is here. An orderly exit would take most of a second to unload torch.
        process.kill()
        process.join()
        receiver.close()
    if not returned:
        raise value
    result: T = value
    return result


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Start a process that reads no script of the user's, and that no Ctrl-C meets half started.

    A script that calls `main` without `if __name__ == "__main__"` would run again in the child.
    """
    resource_tracker.ensure_running()  # its start would unblock the signal
    script, blocked = sys.modules["__main__"], signal.pthread_sigmask(signal.SIG_BLOCK, [])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the child inherits this
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _explain_end(code: int) -> str:
    if code < 0:
        cause = "out of memory?" if code == -signal.SIGKILL else "what it printed is above"
        ending = f"was killed from outside ({format_exit_status(code)}; {cause})"
    else:
        ending = f"ended by itself ({format_exit_status(code)}; what it printed is above)"
    return f"a process of this command {ending}; run it again"


def _send_result(
    pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    _set_up()
    with tolerant_output():
        try:
            result = True, function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  (raised again in the parent)
            if not isinstance(error, UserError):
                error.add_note(f"in a child process:\n{traceback.format_exc()}")
            result = False, error
    pipe.send(result)
    pipe.close()
    os._exit(0)


def _set_up() -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C, end without a traceback
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
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
