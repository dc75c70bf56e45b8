"""The networks, by name. One file a family; every network's forward returns ``Features``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn

from benchmark.config import seeds
from benchmark.config.errors import UserError, suggest
from benchmark.models import (
    mobilenetv1,
    mobilenetv2,
    pyramidnet,
    resnet,
    resnet50,
    shufflenet,
    vgg,
    wide_resnet,
)
from benchmark.models.network import Network
from methods.interface import Shapes

__all__ = [
    "NETWORKS",
    "Network",
    "build",
    "check_unchanged",
    "count_parameters",
    "feature_shapes",
    "fingerprint",
    "network_factory",
    "network_names",
]

NETWORKS: dict[str, Callable[[int], Network]] = {
    **resnet.NETWORKS,
    **wide_resnet.NETWORKS,
    **vgg.NETWORKS,
    **resnet50.NETWORKS,
    **mobilenetv1.NETWORKS,
    **mobilenetv2.NETWORKS,
    **shufflenet.NETWORKS,
    **pyramidnet.NETWORKS,
}


def network_names() -> list[str]:
    """All networks of our own; ``maker`` knows those of other libraries too."""
    return list(NETWORKS)


def network_factory(name: str) -> Callable[[int], Network]:
    """Return what makes a network of that name for a number of classes.

    `torchvision/NAME` and `timm/NAME` are those libraries'. Raises ``UserError`` for others.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if "/" not in name:
        raise UserError(f"'{name}': {suggest(name, network_names(), 'network')}")
    from benchmark.models.external import wrapper  # and with it torchvision, which takes its time

    return wrapper.external_factory(name)


def build(name: str, classes: int, seed: int) -> Network:
    """Build a network whose initial weights depend on ``(name, seed)`` alone.

    Not on the method that will train it: every method starts a seed from the same student, so that
    their differences can be paired. The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("network", name, seed))
        return network_factory(name)(classes)


def fingerprint(module: nn.Module) -> str:
    """The sha256, in hex, of all weights and buffers: whatever file or device they are in."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()


def count_parameters(module: nn.Module) -> int:
    """Count the trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
def feature_shapes(name: str, classes: int, channels: int, size: int) -> Shapes:
    """Find a network's feature shapes by running it on a blank (channels, size, size) image."""
    network = build(name, classes, seed=0).eval()
    try:
        with torch.no_grad():
            seen = Shapes.of(network(torch.zeros(1, channels, size, size)))
    except ValueError as error:  # too small an image
        raise UserError(str(error)) from error
    return seen._replace(norms=len(network.norms))


def check_unchanged(backbone: nn.Module, before: str) -> None:
    """Raise RuntimeError where any bit of a frozen network, buffers included, has changed."""
    if fingerprint(backbone) != before:
        raise RuntimeError("the frozen network has changed while its probe was trained")
