"""Calling functions in processes of their own."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from benchmark.config.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.context import ForkContext, SpawnContext

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def in_a_child(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Return or raise what a module's function does, and forget what it had to import.

    A launcher lives as long as its jobs, and torch would cost it half a gigabyte all that time.
    """
    context = get_context("spawn")  # not a fork: this process may have threads
    with _begun(context, function, *args, **named) as answer:
        return answer()


def shared(function: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Map a function over items, every second one in a fork of this process.

    Only where ``in_a_child`` has begun this process; others may have threads, which a fork lacks.
    """
    if parent_process() is None or sys.platform != "linux" or len(items) < 2:
        return list(map(function, items))
    with _begun(get_context("fork"), lambda: list(map(function, items[1::2]))) as answer:
        ours = list(map(function, items[::2]))
        theirs = answer()
    return [(theirs if i % 2 else ours)[i // 2] for i in range(len(items))]


@contextlib.contextmanager
def _begun(
    context: ForkContext | SpawnContext,
    function: Callable[P, T],
    *args: P.args,
    **named: P.kwargs,
) -> Iterator[Callable[[], T]]:
    """Let another process do something meanwhile; what is yielded waits for its answer."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, args, named))
    process.start()
    theirs.close()
    try:
        yield lambda: _heard(ours)
    finally:
        # It has said all there is: to take torch down in good order would take most of a second.
        process.kill()
        process.join()
        ours.close()


def _heard(pipe: Connection) -> Any:  # noqa: ANN401
    try:
        returned, value = pipe.recv()
    except EOFError:
        raise UserError(
            "a process of this command was killed from outside (out of memory?); run it again"
        ) from None
    if not returned:
        raise value
    return value


def _answer(
    pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]
) -> None:
    _begin()
    try:
        answer = True, function(*args, **named)
    except Exception as error:  # noqa: BLE001  (it is raised again, where it is waited for)
        if not isinstance(error, UserError):
            error.add_note(f"in a process of its own:\n{traceback.format_exc()}")
        answer = False, error
    sys.stdout.flush()
    sys.stderr.flush()
    pipe.send(answer)
    pipe.close()
    os._exit(0)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C it ends and says nothing
    # Ten thousand runs are many objects, and none of them is garbage.
    gc.set_threshold(100_000, 20, 20)
    # For small tensors; several threads wait for each other where others use the cores.
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """Else a child of a parent that was killed would go on for nobody."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
