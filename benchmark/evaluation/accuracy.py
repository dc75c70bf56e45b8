"""Accuracy and loss of a network on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data.stream import TestBatches
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks


class Scores(NamedTuple):
    """Accuracy and loss of one evaluation."""

    top1: float
    """Percent of test images whose highest logit is the label's."""
    top5: float
    """Percent whose label is among the five highest logits; 100 with fewer than six classes."""
    test_loss: float
    """Mean cross-entropy, nats."""


def evaluate(network: nn.Module, test: TestBatches, ranks: Ranks = SINGLE_PROCESS) -> Scores:
    """Return a network's scores. Puts it into eval mode. Several processes share the images."""
    return mean_scores(score_sums(network, test, ranks).tolist(), len(test.labels))


@torch.no_grad()
def score_sums(network: nn.Module, test: TestBatches, ranks: Ranks = SINGLE_PROCESS) -> Tensor:
    """Return the sums (3,) of ``evaluate``'s scores as a tensor on the device, without waiting."""
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=test.labels.device)
    for images, labels in test.batches(ranks):
        sums += batch_score_sums(network(images).logits, labels)
    return ranks.sum(sums)


def batch_score_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums (3,) over a batch: top-1 hits, top-5 hits, loss; float64."""
    ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([ranked[:, 0].sum().double(), ranked.sum().double(), loss.double()])


def mean_scores(sums: Sequence[float], count: int) -> Scores:
    """Return the scores from sums over ``count`` test images."""
    top1, top5, loss_sum = sums
    return Scores(100 * top1 / count, 100 * top5 / count, loss_sum / count)


def to_lists(tensors: Sequence[Tensor]) -> list[list[float]]:
    """Return 1-d tensors as lists, with a single synchronisation of the device."""
    values = iter(torch.cat([*tensors]).tolist() if tensors else ())
    return [[*islice(values, len(tensor))] for tensor in tensors]
