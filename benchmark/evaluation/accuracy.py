"""How good a network is on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data.stream import Tests
from benchmark.processes.distributed import ALONE, Ranks


class Scores(NamedTuple):
    """Of one evaluation."""

    top1: float
    """Percent of test images whose highest logit is the label's."""
    top5: float
    """Percent whose label is among the five highest logits (all, below six classes)."""
    test_loss: float
    """Mean cross-entropy, nats."""


def evaluate(network: nn.Module, test: Tests, ranks: Ranks = ALONE) -> Scores:
    """Score a network, put into eval mode and left there; of several processes, each a part."""
    return scores_of(measured(network, test, ranks).tolist(), len(test.labels))


@torch.no_grad()
def measured(network: nn.Module, test: Tests, ranks: Ranks = ALONE) -> Tensor:
    """Do what ``evaluate`` does, but leave the sums (3,) of its scores on the device, unread."""
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=test.labels.device)
    for images, labels in test.batches(ranks):
        sums += sums_of(network(images).logits, labels)
    return ranks.add(sums)


def sums_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums (3,) of a batch's scores, float64."""
    ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([ranked[:, 0].sum().double(), ranked.sum().double(), loss.double()])


def scores_of(sums: Sequence[float], count: int) -> Scores:
    """Return the means over ``count`` test images."""
    top1, top5, loss_sum = sums
    return Scores(100 * top1 / count, 100 * top5 / count, loss_sum / count)


def read(numbers: Sequence[Tensor]) -> list[list[float]]:
    """Bring tensors (N,) to the host, all in one synchronisation."""
    together = iter(torch.cat([*numbers]).tolist() if numbers else ())
    return [[*islice(together, len(tensor))] for tensor in numbers]
