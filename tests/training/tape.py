"""A graph's stand-ins on a CPU: a step run again, or its operations done again with their tensors.

Like a CUDA graph the second repeats operations and no Python, reads and writes where these lay when
it was made, and refuses what asks the host for a value. What it cannot show is a GPU's streams and
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOSTS = {
    torch.ops.aten._local_scalar_dense,  # .item(), if, int(), float()
    torch.ops.aten.lift_fresh,  # torch.tensor(...)
    torch.ops.aten.nonzero,  # x[mask]: nobody knows how many
    torch.ops.aten.masked_select,
    torch.ops.aten._unique2,
}


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations as they come by."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[tuple[Any, Any, dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in HOSTS:
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
        made = func(*args, **(kwargs or {}))
        # Lists, as of an optimizer, may be another's tomorrow.
        self.kept.append((func, copied(args), copied(kwargs or {}), tree_leaves(made)))
        return made

    def play(self) -> None:
        """Do all of it again, in the same places."""
        for func, args, kwargs, places in self.kept:
            for place, again in zip(places, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(place, Tensor) and place.data_ptr() != again.data_ptr():
                    place.copy_(again)


def copied(value: Any) -> Any:
    """The same tensors in lists of their own."""
    if isinstance(value, list | tuple):
        return type(value)(copied(one) for one in value)
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    return value


class Plain:
    """Repeats a program by running it again."""

    def running(self) -> AbstractContextManager[None]:
        """Where the process is."""
        return nullcontext()

    def fork(self) -> None:
        """Nothing runs beside anything else."""

    def branch(self, number: int) -> AbstractContextManager[None]:
        """One after the other."""
        return nullcontext()

    def join(self) -> None:
        """All is done already."""

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        """Run it."""
        program()
        return program

    def forget(self) -> None:
        """There is nothing to let go of."""


class Taped(Plain):
    """A recorder that repeats a step by its operations."""

    def __init__(self) -> None:
        self.played = 0

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        tape = Tape()
        with tape:
            program()

        def play() -> None:
            self.played += 1
            with torch.no_grad():
                tape.play()

        return play
