"""Measure time on a device, the energy of a GPU and the memory of a process."""

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
"""Shape (2,), seconds: work time, then wall time."""


class Timestamp(NamedTuple):
    """A point in time; on a GPU, an event in the stream of kernels."""

    work: float
    wall: float
    event: torch.cuda.Event | None = None


class Clock:
    """Measures work time and wall time.

    On a CPU, work time is the CPU time of this process, which a loaded machine does not lengthen.
    On a GPU both are the time between events in its stream, so the host need not wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"

    def now(self) -> Timestamp:
        """Return a timestamp; on a GPU, one that follows the kernels launched so far."""
        if not self.on_gpu:
            return Timestamp(time.process_time(), time.perf_counter())
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return Timestamp(0, 0, event)

    def between(self, start: Timestamp, end: Timestamp) -> Times:
        """Return the time between two timestamps."""
        if start.event is None or end.event is None:
            return np.array([end.work - start.work, end.wall - start.wall])
        end.event.synchronize()
        seconds = start.event.elapsed_time(end.event) / 1000
        return np.array([seconds, seconds])


def time_work(device: torch.device, work: Callable[[], object]) -> Times:
    """Call ``work`` once and return its (2,) seconds: work time, then wall time.

    On a GPU both are the time from an idle device to the end of everything that ``work`` queued,
    host time included.
    """
    if device.type == "cuda":
        # Work that is still queued would hide how long the host takes to launch this.
        torch.cuda.synchronize(device)
    clock = Clock(device)
    start = clock.now()
    work()
    return clock.between(start, clock.now())


class Spans:
    """Measures named spans of time, each as often as it occurs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spans: list[tuple[str, Timestamp, Timestamp]] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Measure the time of a `with` block under a name."""
        start = self.clock.now()
        yield
        self.spans.append((name, start, self.clock.now()))

    def read(self) -> dict[str, Times]:
        """Return the mean time of each name, and delete all measurements."""
        by_name: dict[str, list[Times]] = defaultdict(list)
        for name, start, end in self.spans:
            by_name[name].append(self.clock.between(start, end))
        self.spans = []
        return {name: np.mean(times, axis=0) for name, times in by_name.items()}


def gpu_energy_meter(uuid: str) -> Callable[[], float] | None:
    """Return a function that returns the joules an NVIDIA GPU has drawn so far, for all users.

    None if nvidia-ml-py, NVML or the GPU's energy counter is not available.
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
    """Return the peak resident memory of this process, in MiB."""
    # Preferred, since getrusage includes the memory of the parent when it started this process.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
