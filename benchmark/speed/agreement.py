"""Whether captured steps compute what the plain loop computes: its losses and weights, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.speed.both_sides import Scene
from benchmark.speed.epochs import Make, Suite, short
from benchmark.suite.rows import Entry
from benchmark.training.cohort import train_epoch

BATCHES, EPOCHS = 4, 20
"""Full batches and a short one make an epoch: a hundred steps, and every loss is read 20 times."""


class Agreement(NamedTuple):
    """Of a cohort that was trained twice from the same start, in `strict`."""

    of: str
    steps: int
    losses: float
    """The largest relative difference of a loss term's sum over an epoch."""
    differing: Sequence[str]
    """Learners whose losses or weights are not the same to the bit."""
    refused: str
    """Why steps were not captured, where they were not."""


def measure(scene: Scene, pair: tuple[str, str], entries: Sequence[Entry], make: Make) -> Agreement:
    """Train by the plain loop and by another. Raises ``UserError`` where a learner fails."""
    stream = short(scene, BATCHES)
    makes: Sequence[Make] = (lambda _, say: train_epoch, make)
    plain, other = (Suite(scene, stream, pair, entries, "strict", one) for one in makes)
    differing, largest = set[str](), 0.0
    for _ in range(EPOCHS):
        for side in (plain, other):
            side.warm_up(1)
        for one, two in zip(plain.learners, other.learners, strict=True):
            for name, ours in one.sums.items():
                theirs = two.sums[name]
                largest = max(largest, float((ours - theirs).abs() / ours.abs().clamp_min(1e-12)))
                differing |= {one.name} if ours != theirs else set()
    for one, two in zip(plain.learners, other.learners, strict=True):
        if not torch.equal(weights(one.student), weights(two.student)):
            differing.add(one.name)
    of = f"{' -> '.join(pair)}, {len(entries)} methods"
    steps = EPOCHS * stream.steps
    return Agreement(of, steps, largest, sorted(differing), "; ".join(other.said))


def weights(network: torch.nn.Module) -> Tensor:
    """Return all weights and buffers, one after the other."""
    return torch.cat([x.detach().double().flatten() for x in network.state_dict().values()])
