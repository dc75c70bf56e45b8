"""Several processes that train the same learners together, each on its part of every batch.

The global batch is the suite's, whatever the number of processes; each takes its slice of it, and
gradients are averaged over all samples. Who is who is said as torchrun says it, by environment
variables. What differs from one process: batch norms see a slice, and a loss that compares samples
with each other (SP, RKD, PKT, CC and the like) sees pairs within a slice only.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmark.config.errors import UserError
from benchmark.processes.contract import LISTENING

CAUSE, HERE = "cause", "here"
"""What the processes tell each other beside tensors: why one failed; how many have come."""


class PartedError(Exception):
    """Another process is gone, and with it what all were about to do together."""


class Ranks(NamedTuple):
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1
    store: Any = None
    """torch's, that all of them read and write; None where there is one process."""

    @property
    def leads(self) -> bool:
        """Whether this is the one that claims, writes and speaks."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return this process's slice of a batch of so many samples."""
        if count < self.size:
            raise UserError(
                f"a batch of {count} samples cannot be shared by {self.size} processes: choose a "
                "batch size that leaves no shorter last batch, or fewer processes"
            )
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def tell(self, value: Any) -> Any:  # noqa: ANN401
        """Return the leader's value, on every process."""
        if self.size == 1:
            return value
        told = [value]
        with in_touch():
            dist.broadcast_object_list(told)
        return told[0]

    def add(self, numbers: Tensor) -> Tensor:
        """Return the sum of what all processes give."""
        if self.size > 1:
            with in_touch():
                dist.all_reduce(numbers)
        return numbers

    def average(
        self, parameters: Sequence[nn.Parameter], labels: Tensor, failure: str | None
    ) -> None:
        """Replace gradients by their means over all samples, of which those with labels were here.

        Raises RuntimeError where the step has failed on another process: no one goes on alone.
        """
        if self.size == 1:
            return
        # A process that has failed gives zeros for everything, so none is waited for in vain.
        shape = sum(p.numel() for p in parameters)
        count = len(labels) if failure is None else 0
        last = torch.tensor([count, failure is not None], device=labels.device)
        if failure is None:
            flat = torch.cat([*(dense(p).flatten() * count for p in parameters), last.float()])
        else:
            flat = torch.cat([torch.zeros(shape, device=labels.device), last.float()])
        self.add(flat)
        if flat[shape + 1] > 0:
            self._explain(failure)
        means = torch.split(flat[:shape] / flat[shape], [p.numel() for p in parameters])
        for parameter, mean in zip(parameters, means, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(mean.view_as(parameter))

    def _explain(self, failure: str | None) -> None:
        said: list[Any] = [None] * self.size
        with in_touch():
            dist.all_gather_object(said, failure)
        if failure is None:
            rank, message = next((i, text) for i, text in enumerate(said) if text)
            raise RuntimeError(f"process {rank} of {self.size}: {message}")

    def align(self, *modules: nn.Module) -> None:
        """Give every process the leader's buffers, as the running statistics of batch norms."""
        if self.size > 1:
            with in_touch():
                for module in modules:
                    for buffer in module.buffers():
                        dist.broadcast(buffer, src=0)

    def cause(self, error: Exception, patience: float = 2.0) -> Exception:
        """Return why the job failed: where others are gone, what the one said that failed itself.

        They may also have been told to end, as this process is about to be: it waits for that too.
        """
        if self.store is None:
            return error
        with contextlib.suppress(RuntimeError):  # the store is gone with the leader
            if not isinstance(error, PartedError):
                who = f"process {self.rank} of {self.size}"
                self.store.set(CAUSE, f"{who}: {type(error).__name__}: {error}")
                return error
            time.sleep(patience)
            if self.store.check([CAUSE]):
                return RuntimeError(self.store.get(CAUSE).decode())
        return error


ALONE = Ranks()


def dense(parameter: nn.Parameter) -> Tensor:
    """Return a parameter's gradient; zeros where it has none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@contextmanager
def in_touch() -> Iterator[None]:
    """Tell a lost connection, which is nobody's failure here, from all else that goes wrong."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PartedError(f"lost touch with the other processes: {error}") from error


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Meet the other processes of a job, if there are any; yield who this is, and its device."""
    rank, size, local = (
        int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    )
    names = device.split(",")
    mine = names[local % len(names)]
    if size <= 1:
        yield ALONE, torch.device(mine)
        return
    if mine == "cuda":
        mine = f"cuda:{local % torch.cuda.device_count()}"
    if mine != "cpu":
        torch.cuda.set_device(mine)
    store = meeting(rank, size)
    backend = "gloo" if mine == "cpu" else "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    yield Ranks(rank, size, store), torch.device(mine)
    # Not after a failure: it might wait for those that are gone.
    dist.destroy_process_group()


def meeting(rank: int, size: int, patience: float = 300.0) -> Any:  # noqa: ANN401
    """Return torch's store by which the processes of a job find each other, once all are there."""
    listening = os.environ.get(LISTENING)
    by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not by_torchrun,
        wait_for_workers=False,
        master_listen_fd=None if listening is None else int(listening),
    )
    store.add(HERE, 1)
    until = time.monotonic() + patience
    while (here := store.add(HERE, 0)) < size:  # and not inside torch, where no signal is heard
        if time.monotonic() > until:
            raise TimeoutError(f"of {size} processes {here} have come within {patience:g} s")
        time.sleep(0.05)
    return store
