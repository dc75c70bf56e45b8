"""The networks, by name. One file a family; every network's forward returns ``Features``.

Imports `config` only, and `methods.interface`. Read `network.py` first, then `resnet.py`.
"""

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
    """Return the names of the built-in networks; ``network_factory`` knows others too."""
    return list(NETWORKS)


def network_factory(name: str) -> Callable[[int], Network]:
    """Return a function from a number of classes to a network of that name.

    `torchvision/NAME` and `timm/NAME` are those libraries' networks. Raises ``UserError`` for an
    unknown name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if "/" not in name:
        raise UserError(f"'{name}': {suggest(name, network_names(), 'network')}")
    from benchmark.models.external import wrapper  # loads torchvision, which is slow

    return wrapper.external_factory(name)


def build(name: str, classes: int, seed: int) -> Network:
    """Build a network whose initial weights depend on ``(name, seed)`` alone.

    They do not depend on the method: within a seed every method starts from the same student, so
    that differences can be paired. The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("network", name, seed))
        return network_factory(name)(classes)


def fingerprint(module: nn.Module) -> str:
    """Return the sha256, in hex, of all weights and buffers. File and device do not matter."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
def feature_shapes(name: str, classes: int, channels: int, size: int) -> Shapes:
    """Return the shapes of a network's features, from a blank (channels, size, size) image."""
    network = build(name, classes, seed=0).eval()
    try:
        with torch.no_grad():
            seen = Shapes.of(network(torch.zeros(1, channels, size, size)))
    except ValueError as error:  # the image is too small
        raise UserError(str(error)) from error
    return seen._replace(norms=len(network.norms))


def check_unchanged(backbone: nn.Module, before: str) -> None:
    """Raise RuntimeError if any bit of a frozen network, buffers included, has changed."""
    if fingerprint(backbone) != before:
        raise RuntimeError("the frozen network has changed while its probe was trained")
