"""A roofline: the least time of a step, from its operations and bytes and the device's rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.data.source import Source
from benchmark.models.flops import build_on_meta_device, features_and_flops
from benchmark.training.meters import time_work

BACKWARD = 3
"""A training step has three times the operations of a forward pass."""
TEACHER_TOUCHES, STUDENT_TOUCHES = 2, 12
"""How often a convolution's output passes through memory if all that can be is fused. A frozen
network writes and reads it once; in training, batch norm takes two passes, forward and backward."""
MATRIX, CHANNELS, CONVOLVED, COPIED = 1024, 256, 16, 1 << 26
"""Sizes for measuring a CPU's rates: the side of a matrix, channels and images (16 x 16 pixels) of
a convolution, bytes of a copy. A GPU gets eight times as much (of channels as many)."""


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs in a forward pass of a network."""

    flops: int
    """A multiplication and an addition are two."""
    maps: int
    """Bytes of the outputs of all convolutions, float32."""


@dataclass(frozen=True)
class DeviceRates:
    """The best rates that were measured on a device."""

    flops: float
    """Per second, in float32: the better of a matrix product and of a 3 x 3 convolution."""
    bytes: float
    """Per second, read and written, in a copy."""


class ConvolutionBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the bytes of the outputs of all convolutions within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.bytes += out.nbytes
        return out


def count_network(name: str, source: Source) -> NetworkCost:
    """Count on the meta device, where nothing is computed."""
    network = build_on_meta_device(name, source.classes).eval()
    image = torch.empty(1, 3, source.size, source.size, device="meta")
    with torch.no_grad(), ConvolutionBytes() as outputs:
        network(image)
    return NetworkCost(features_and_flops(network, source.size).flops, outputs.bytes)


@dataclass(frozen=True)
class Floor:
    """The least time that an image can take on a device."""

    flops: int
    bytes: int
    seconds: float
    bound: str
    """Which of the two takes that long: ``operations`` or ``bytes``."""


def compute_floor(
    teacher: NetworkCost, student: NetworkCost, learners: int, rates: DeviceRates
) -> Floor:
    """Compute the floor of one image that passes through a teacher and trains some learners."""
    flops = teacher.flops + learners * BACKWARD * student.flops
    moved = teacher.maps * TEACHER_TOUCHES + learners * student.maps * STUDENT_TOUCHES
    by = {"operations": flops / rates.flops, "bytes": moved / rates.bytes}
    bound = max(by, key=by.__getitem__)
    return Floor(flops, moved, by[bound], bound)


def measure_rates(device: torch.device, rounds: int = 5) -> DeviceRates:
    """Measure a device's rates; the best of a few rounds counts."""
    scale = 8 if device.type == "cuda" else 1
    a, b = torch.rand(2, MATRIX * scale, MATRIX * scale, device=device)
    maps, kernel = (
        torch.rand(shape, device=device).to(memory_format=torch.channels_last)
        for shape in ((CONVOLVED * scale, CHANNELS, 16, 16), (CHANNELS, CHANNELS, 3, 3))
    )
    source = torch.rand(COPIED // 4 * scale, device=device)
    target = torch.empty_like(source)
    product = best_seconds(device, lambda: a @ b, rounds)
    convolution = best_seconds(device, lambda: F.conv2d(maps, kernel, padding=1), rounds)
    copy = best_seconds(device, lambda: target.copy_(source), rounds)
    flops = 2 * len(a) ** 3 / product, 2 * 9 * CHANNELS * maps.numel() / convolution
    return DeviceRates(max(flops), 2 * source.nbytes / copy)


def best_seconds(device: torch.device, work: Callable[[], object], rounds: int) -> float:
    """Return the least seconds of work of a few rounds, after a warm-up."""
    work()
    return min(float(time_work(device, work)[0]) for _ in range(rounds))
