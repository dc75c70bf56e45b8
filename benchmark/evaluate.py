"""How good a network is on the test images."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from benchmark.data.stream import Tests
from benchmark.ranks import ALONE, Ranks


class Scores(NamedTuple):
    """Of one evaluation."""

    top1: float
    """Percent of test images whose highest logit is the label's."""
    top5: float
    """Percent whose label is among the five highest logits (all, below six classes)."""
    test_loss: float
    """Mean cross-entropy, nats."""


@torch.no_grad()
def evaluate(network: nn.Module, test: Tests, ranks: Ranks = ALONE) -> Scores:
    """Score a network, put into eval mode and left there; of several processes, each a part."""
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=test.labels.device)
    for images, labels in test.batches(ranks):
        logits = network(images).logits
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([ranked[:, 0].sum().double(), ranked.sum().double(), loss.double()])
    top1, top5, loss_sum = ranks.add(sums).tolist()
    count = len(test.labels)
    return Scores(100 * top1 / count, 100 * top5 / count, loss_sum / count)
