"""What a step needs at the least: operations and bytes counted, and the rates of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.models.flops import look, on_paper
from benchmark.training.meters import Clock

BACKWARD = 3
"""A training step has so many times the operations of a forward pass."""
TEACHER_TOUCHES, STUDENT_TOUCHES = 2, 12
"""How often a convolution's output passes through memory, all fused that can be: written and read
once by a frozen network; in training with batch norm's two passes, forward and backward."""
MATRIX, CHANNELS, IMAGES, COPIED = 1024, 256, 16, 1 << 26
"""What rates are measured with on a CPU: a matrix's side, channels and images of a convolution on
16 x 16 pixels, bytes of a copy."""


class Counted(NamedTuple):
    """Of one network and one image."""

    flops: int
    """Of a forward pass; a multiplication and an addition are two."""
    maps: int
    """Bytes that convolutions put out in it, float32."""
    eager: int
    """Bytes that every operation as dispatched reads and writes in it."""


class Rates(NamedTuple):
    """What the device was seen to do, at best."""

    flops: float
    """A second, in float32: the better of a matrix product and of a 3 x 3 convolution."""
    bytes: float
    """A second, in a copy; read and written."""


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that pass through the operations below it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.maps = self.eager = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Count one operation, unless it only looks at its input in another way."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.eager += weigh((args, kwargs)) + weigh(out)
        if func is torch.ops.aten.convolution.default:
            self.maps += weigh(out)
        return out


def weigh(tree: Any) -> int:  # noqa: ANN401
    """Sum the bytes of all tensors."""
    return sum(leaf.nbytes for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def counted(name: str, classes: int, size: int, batch: int) -> Counted:
    """Count on paper: nothing is computed. Weights count once a batch."""
    network = on_paper(name, classes).eval()
    flops = look(network, size).flops
    images = torch.empty(batch, 3, size, size, device="meta")
    with torch.no_grad(), Traffic() as traffic:
        network(images)
    return Counted(flops, traffic.maps // batch, traffic.eager // batch)


class Floor(NamedTuple):
    """The least seconds that an image can take."""

    flops: int
    bytes: int
    seconds: float
    bound: str
    """Which of the two it is."""


def floor(teacher: Counted, student: Counted, learners: int, rates: Rates) -> Floor:
    """Of one image through one teacher and so many learners."""
    flops = teacher.flops + learners * BACKWARD * student.flops
    moved = teacher.maps * TEACHER_TOUCHES + learners * student.maps * STUDENT_TOUCHES
    by = {"operations": flops / rates.flops, "bytes": moved / rates.bytes}
    bound = max(by, key=by.__getitem__)
    return Floor(flops, moved, by[bound], bound)


def rates(device: torch.device, rounds: int = 5) -> Rates:
    """Measure a device, by the best of a few rounds."""
    scale = 8 if device.type == "cuda" else 1
    a, b = torch.rand(2, MATRIX * scale, MATRIX * scale, device=device)
    maps, kernel = (
        torch.rand(shape, device=device).to(memory_format=torch.channels_last)
        for shape in ((IMAGES * scale, CHANNELS, 16, 16), (CHANNELS, CHANNELS, 3, 3))
    )
    source = torch.rand(COPIED // 4 * scale, device=device)
    target = torch.empty_like(source)
    product = best(device, lambda: a @ b, rounds)
    convolved = best(device, lambda: F.conv2d(maps, kernel, padding=1), rounds)
    copy = best(device, lambda: target.copy_(source), rounds)
    flops = 2 * len(a) ** 3 / product, 2 * 9 * CHANNELS * maps.numel() / convolved
    return Rates(max(flops), 2 * source.nbytes / copy)


def best(device: torch.device, work: Callable[[], object], rounds: int) -> float:
    """Return the least seconds of a few rounds, after one that does not count."""
    clock = Clock(device)
    work()
    return min(timed(clock, work, rounds))


def timed(clock: Clock, work: Callable[[], object], rounds: int) -> Iterator[float]:
    """Yield each round's seconds of work."""
    for _ in range(rounds):
        start = clock.now()
        work()
        yield float(clock.between(start, clock.now())[0])
