"""Data-parallel training: several processes train the same learners, each on a slice of each batch.

The global batch size does not depend on the number of processes, and gradients are averaged over
all samples. Ranks come from torchrun's environment variables. Two things differ from training in
one process: batch norms use the statistics of a slice, and a loss that compares samples with each
other (SP, RKD, PKT, CC and others) compares samples within a slice only.
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
from benchmark.processes.contract import MASTER_FD

CAUSE_KEY = "cause"
"""Key in torch's store: why a process failed."""
ARRIVED_KEY = "here"
"""Key in torch's store: how many processes have arrived."""


class LostProcessError(Exception):
    """Another process is gone, so a collective operation failed."""


class Ranks(NamedTuple):
    """The rank of this process, and the collective operations of its job."""

    rank: int = 0
    size: int = 1
    store: Any = None
    """torch's key-value store, shared by all processes; None if there is only one process."""

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which alone claims runs, writes files and prints."""
        return self.rank == 0

    def slice_of_batch(self, count: int) -> slice:
        """Return this process's slice of a batch of ``count`` samples.

        Raises UserError if there are fewer samples than processes.
        """
        if count < self.size:
            raise UserError(
                f"a batch of {count} samples cannot be shared by {self.size} processes: choose a "
                "batch size that leaves no shorter last batch, or fewer processes"
            )
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def broadcast(self, value: Any) -> Any:  # noqa: ANN401
        """Return rank 0's value on every process."""
        if self.size == 1:
            return value
        values = [value]
        with detect_lost_process():
            dist.broadcast_object_list(values)
        return values[0]

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; the tensor itself is overwritten."""
        if self.size > 1:
            with detect_lost_process():
                dist.all_reduce(numbers)
        return numbers

    def sum_on_host(self, numbers: Tensor) -> list[float]:
        """Return the sums of a tensor on the host over all processes, whatever their device."""
        parts: list[Any] = [numbers.tolist()]
        if self.size > 1:
            parts = [None] * self.size
            with detect_lost_process():
                dist.all_gather_object(parts, numbers.tolist())
        return [sum(column) for column in zip(*parts, strict=True)]

    def average_gradients(
        self, parameters: Sequence[nn.Parameter], labels: Tensor, failure: str | None
    ) -> None:
        """Replace gradients by their means over the samples of all processes.

        ``labels`` are those of this process's samples. ``failure`` is the message of the exception
        that this process's step raised. Raises RuntimeError on all other processes in that case.
        """
        if self.size == 1:
            return
        # A process that failed contributes zeros, so that the others do not wait for it forever.
        size = sum(p.numel() for p in parameters)
        count = len(labels) if failure is None else 0
        last = torch.tensor([count, failure is not None], device=labels.device)
        if failure is None:
            flat = torch.cat(
                [*(gradient_or_zeros(p).flatten() * count for p in parameters), last.float()]
            )
        else:
            flat = torch.cat([torch.zeros(size, device=labels.device), last.float()])
        self.sum(flat)
        if flat[size + 1] > 0:
            self._raise_failure(failure)
        means = torch.split(flat[:size] / flat[size], [p.numel() for p in parameters])
        for parameter, mean in zip(parameters, means, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(mean.view_as(parameter))

    def _raise_failure(self, failure: str | None) -> None:
        failures: list[Any] = [None] * self.size
        with detect_lost_process():
            dist.all_gather_object(failures, failure)
        if failure is None:
            rank, message = next((i, text) for i, text in enumerate(failures) if text)
            raise RuntimeError(f"process {rank} of {self.size}: {message}")

    def broadcast_buffers(self, *modules: nn.Module) -> None:
        """Copy rank 0's buffers, such as batch norms' running statistics, to all processes."""
        if self.size > 1:
            with detect_lost_process():
                for module in modules:
                    for buffer in module.buffers():
                        dist.broadcast(buffer, src=0)

    def root_cause(self, error: Exception, patience: float = 2.0) -> Exception:
        """Return the exception that made the job fail.

        If ``error`` only says that another process is gone, return that process's own error once it
        is in the store. The wait also gives a SIGTERM meant for all processes time to arrive.
        """
        if self.store is None:
            return error
        with contextlib.suppress(RuntimeError):  # the store ends with rank 0
            if not isinstance(error, LostProcessError):
                who = f"process {self.rank} of {self.size}"
                self.store.set(CAUSE_KEY, f"{who}: {type(error).__name__}: {error}")
                return error
            time.sleep(patience)
            if self.store.check([CAUSE_KEY]):
                return RuntimeError(self.store.get(CAUSE_KEY).decode())
        return error


SINGLE_PROCESS = Ranks()


def gradient_or_zeros(parameter: nn.Parameter) -> Tensor:
    """Return a parameter's gradient, or zeros if it has none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@contextmanager
def detect_lost_process() -> Iterator[None]:
    """Raise LostProcessError for a failed collective operation: it is not a learner's failure."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostProcessError(f"lost the connection to the other processes: {error}") from error


@contextmanager
def join_process_group(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other processes of the job, if any. Yields this process's ranks and device.

    ``device`` is `cpu`, `cuda` or a list such as `cuda:0,cuda:1`, one entry per local rank.
    """
    rank, size, local = (
        int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    )
    names = device.split(",")
    device_name = names[local % len(names)]
    if size <= 1:
        yield SINGLE_PROCESS, torch.device(device_name)
        return
    if device_name == "cuda":
        device_name = f"cuda:{local % torch.cuda.device_count()}"
    if device_name != "cpu":
        torch.cuda.set_device(device_name)
    store = rendezvous(rank, size)
    backend = "gloo" if device_name == "cpu" else "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    yield Ranks(rank, size, store), torch.device(device_name)
    # Not in a finally block: after a failure it might wait for processes that are gone.
    dist.destroy_process_group()


def rendezvous(rank: int, size: int, patience: float = 300.0) -> Any:  # noqa: ANN401
    """Return torch's key-value store of the job once all processes have arrived.

    Raises TimeoutError if they have not all arrived after ``patience`` seconds.
    """
    listening = os.environ.get(MASTER_FD)
    by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not by_torchrun,
        wait_for_workers=False,
        master_listen_fd=None if listening is None else int(listening),
    )
    store.add(ARRIVED_KEY, 1)
    until = time.monotonic() + patience
    # Polling here, because Python handles no signal while torch waits.
    while (arrived := store.add(ARRIVED_KEY, 0)) < size:
        if time.monotonic() > until:
            raise TimeoutError(f"{arrived} of {size} processes arrived within {patience:g} s")
        time.sleep(0.05)
    return store
