"""FSP's loss as a batched matrix product, against the broadcasting that it is usually done by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark import models
from benchmark.data.source import Source
from benchmark.speed import reference
from benchmark.speed.ratios import Figure, Round, ratio
from benchmark.training.meters import Clock, Times
from methods import fsp
from methods.interface import Shapes

BATCH = 8
"""At 64, broadcasting takes gigabytes for the wide pairs."""


class Flow(NamedTuple):
    """Times as fast, and how far the values lie apart."""

    figure: Figure
    difference: float
    """Of the losses, relative."""


def measure(
    teacher: str, student: str, source: Source, device: torch.device, rounds: int
) -> Flow | None:
    """Forward and backward, on noise in the pair's shapes; None where widths differ."""
    shapes = [models.shapes(n, source.classes, 3, source.size) for n in (student, teacher)]
    if [s[0] for s in maps_of(shapes[0])] != [s[0] for s in maps_of(shapes[1])]:
        return None
    random = torch.Generator().manual_seed(0)
    noise = [[torch.rand(BATCH, *s, generator=random) for s in maps_of(x)] for x in shapes]
    found = []
    for number in range(rounds + 1):  # the first does not count
        sides = {
            name: one_pass(name, noise, device) for name in sorted(WAYS, reverse=number % 2 == 0)
        }
        found.append(Round(*({"fsp": sides[name][0]} for name in Round._fields)))
    figure = ratio(found[1:], lambda one: one.usual["fsp"] / one.suite["fsp"])
    return Flow(figure, abs(sides["suite"][1] / sides["usual"][1] - 1))


def one_pass(
    way: str, noise: Sequence[Sequence[Tensor]], device: torch.device
) -> tuple[Times, float]:
    """Compute the loss of (student, teacher) maps and its gradient; return time and loss."""
    matrix, layout = WAYS[way]
    seen, shown = ([x.to(device, memory_format=layout) for x in side] for side in noise)
    # Fresh leaves: what a layout does not change is the noise itself.
    seen = [x.detach().requires_grad_() for x in seen]
    clock = Clock(device)
    start = clock.now()
    with torch.no_grad():
        wanted = [matrix(a, b) for a, b in pairwise(shown)]
    loss = fsp.flow_loss([matrix(a, b) for a, b in pairwise(seen)], wanted, "mean")
    loss.backward()  # type: ignore[no-untyped-call]
    return clock.between(start, clock.now()), loss.item()


WAYS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], torch.memory_format]] = {
    "usual": (reference.flow_matrix, torch.contiguous_format),
    "suite": (lambda a, b: fsp.flow_matrix(a, b, "avg"), torch.channels_last),
}


def maps_of(shapes: Shapes) -> list[tuple[int, int, int]]:
    """Return the maps between which features flow."""
    return [shapes.stem, *shapes.stages]
