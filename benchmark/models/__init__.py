"""The networks, by name. One file a family; every network's forward returns ``Features``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn

from benchmark import seeds
from benchmark.models import mobilenetv2, pyramidnet, resnet, resnet50, shufflenet, vgg, wrn
from benchmark.models.network import Network
from methods.interface import Shapes

__all__ = ["NETWORKS", "Network", "build", "count_parameters", "names", "shapes"]

NETWORKS: dict[str, Callable[[int], Network]] = {
    **resnet.NETWORKS,
    **wrn.NETWORKS,
    **vgg.NETWORKS,
    **resnet50.NETWORKS,
    **mobilenetv2.NETWORKS,
    **shufflenet.NETWORKS,
    **pyramidnet.NETWORKS,
}


def names() -> list[str]:
    """All networks that ``build`` knows."""
    return list(NETWORKS)


def build(name: str, classes: int, seed: int) -> Network:
    """Build a network whose initial weights depend on ``(name, seed)`` alone.

    Not on the method that will train it: every method starts a seed from the same student, so that
    their differences can be paired. The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("network", name, seed))
        return NETWORKS[name](classes)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
def shapes(name: str, classes: int, channels: int, size: int) -> Shapes:
    """Find a network's feature shapes by running it on a blank (channels, size, size) image."""
    network = build(name, classes, seed=0).eval()
    with torch.no_grad():
        return Shapes.of(network(torch.zeros(1, channels, size, size)))
