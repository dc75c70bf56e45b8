"""Several processes that train the same learners together, each on its part of every batch.

The global batch is the suite's, whatever the number of processes; each takes its slice of it, and
gradients are averaged over all samples. torchrun and submitit say who is who, by environment
variables. What differs from one process: batch norms see a slice, and a loss that compares samples
with each other (SP, RKD, PKT, CC and the like) sees pairs within a slice only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmark.errors import UserError


class Ranks(NamedTuple):
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

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
        dist.broadcast_object_list(told)
        return told[0]

    def add(self, numbers: Tensor) -> Tensor:
        """Return the sum of what all processes give."""
        if self.size > 1:
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
        dist.all_reduce(flat)
        if flat[shape + 1] > 0:
            self._explain(failure)
        means = torch.split(flat[:shape] / flat[shape], [p.numel() for p in parameters])
        for parameter, mean in zip(parameters, means, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(mean.view_as(parameter))

    def _explain(self, failure: str | None) -> None:
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, failure)
        if failure is None:
            rank, message = next((i, text) for i, text in enumerate(said) if text)
            raise RuntimeError(f"process {rank} of {self.size}: {message}")

    def align(self, *modules: nn.Module) -> None:
        """Give every process the leader's buffers, as the running statistics of batch norms."""
        if self.size > 1:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, src=0)


ALONE = Ranks()


def dense(parameter: nn.Parameter) -> Tensor:
    """Return a parameter's gradient; zeros where it has none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Meet the other processes of a job, if there are any; yield who this is, and its device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, torch.device(device)
        return
    here = torch.device(device)
    if here.type == "cuda":
        here = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(here)
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), size), here
    finally:
        dist.destroy_process_group()
