"""Whether CUDA graphs compute what the eager loop computes: losses and weights are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.speed.both_sides import Setting
from benchmark.speed.epochs import LOOPS, MakeLoop, SuiteSide
from benchmark.speed.ratios import PairNames
from benchmark.suite.rows import Row

AGREEMENT_BATCHES, AGREEMENT_EPOCHS = 4, 20
"""Four full batches and a short one make an epoch: 100 steps, and 20 comparisons of every loss."""


@dataclass(frozen=True)
class Agreement:
    """A comparison of two cohorts that were trained from the same start, in `strict`."""

    of: str
    steps: int
    losses: float
    """The largest relative difference of a loss term's sum over an epoch."""
    differing: Sequence[str]
    """Methods whose losses or weights are not bit-equal."""
    refused: str
    """Why steps were not captured as CUDA graphs; empty if they were."""


def measure_agreement(
    setting: Setting, pair: PairNames, entries: Sequence[Row], make: MakeLoop
) -> Agreement:
    """Train by the eager loop and by another one. Raises ``UserError`` if a learner fails."""
    stream = setting.short_stream(AGREEMENT_BATCHES)
    eager, other = (
        SuiteSide(setting, stream, pair, entries, "strict", loop) for loop in (LOOPS["eager"], make)
    )
    differing, largest = set[str](), 0.0
    for _ in range(AGREEMENT_EPOCHS):
        for side in (eager, other):
            side.warm_up(1)
        for one, two in zip(eager.learners, other.learners, strict=True):
            for name, expected in one.sums.items():
                difference = (expected - two.sums[name]).abs() / expected.abs().clamp_min(1e-12)
                largest = max(largest, float(difference))
                differing |= {one.name} if expected != two.sums[name] else set()
    for one, two in zip(eager.learners, other.learners, strict=True):
        if not torch.equal(flat_weights(one.student), flat_weights(two.student)):
            differing.add(one.name)
    of = f"{pair}, {len(entries)} methods"
    steps = AGREEMENT_EPOCHS * stream.steps
    return Agreement(of, steps, largest, sorted(differing), other.refused)


def flat_weights(network: torch.nn.Module) -> Tensor:
    """Return all weights and buffers in one vector."""
    return torch.cat([x.detach().double().flatten() for x in network.state_dict().values()])
