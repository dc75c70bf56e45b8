"""What passes between two moments on a device: by the clock of its work, and by the wall's."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Times = npt.NDArray[np.float64]
"""(2,) seconds: of work, then by the wall."""


class Moment(NamedTuple):
    """A point in time; on a GPU it is one in the queue of its work."""

    work: float
    wall: float
    event: torch.cuda.Event | None = None


class Clock:
    """On a CPU the process's own time, which a loaded machine does not stretch, and the wall's.

    On a GPU both are the time between events in the stream: nobody has to wait for them.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"

    def now(self) -> Moment:
        """Mark this moment."""
        if not self.on_gpu:
            return Moment(time.process_time(), time.perf_counter())
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return Moment(0, 0, event)

    def between(self, start: Moment, end: Moment) -> Times:
        """Return what lies between two moments."""
        if start.event is None or end.event is None:
            return np.array([end.work - start.work, end.wall - start.wall])
        end.event.synchronize()
        seconds = start.event.elapsed_time(end.event) / 1000
        return np.array([seconds, seconds])


class Spans:
    """Stretches of time by name, as a loop goes through them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.found: list[tuple[str, Moment, Moment]] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time what happens within."""
        start = self.clock.now()
        yield
        self.found.append((name, start, self.clock.now()))

    def read(self) -> dict[str, Times]:
        """Return each name's mean, and forget all."""
        by_name: dict[str, list[Times]] = defaultdict(list)
        for name, start, end in self.found:
            by_name[name].append(self.clock.between(start, end))
        self.found = []
        return {name: np.mean(spans, axis=0) for name, spans in by_name.items()}


def energy_meter(uuid: str) -> Callable[[], float] | None:
    """Return what tells the joules that an NVIDIA GPU has drawn so far, whoever used it.

    None where nvidia-ml-py, its library or the GPU's counter is not there.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1000


def peak_memory_mb() -> float:
    """Return the most memory, in MiB, that this process has had resident so far."""
    # First choice, for getrusage counts what the parent held when it started this process.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
