"""Operations of a forward pass and of a loss, counted by torch's own formulas.

Matrix products, convolutions and attention count; a multiplication and an addition are two
operations. Elementwise operations do not count, so many losses have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.models.network import Network
from methods.interface import Features


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations like ``torch.utils.flop_counter.FlopCounterMode``.

    That class loads torch's compiler, which costs every job more than a second.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Imported late: it may load triton, and no job should wait for that before it trains.
        from torch.utils.flop_counter import flop_registry

        self.formulas: dict[Any, Callable[..., int]] = flop_registry
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's word: to be skipped by the compiler, it would be loaded

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Count one operation."""
        out = func(*args, **(kwargs or {}))
        if formula := self.formulas.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@torch.no_grad()
def flops_per_image(network: nn.Module, images: Tensor) -> int:
    """Return the operations of one image's forward pass in eval mode; images are (B, 3, H, W)."""
    network.eval()
    with FlopCounter() as counter:
        network(images)
    total: int = counter.total
    return total // len(images)


def build_on_meta_device(name: str, classes: int) -> Network:
    """Build a network on the meta device, without memory. Raises ``UserError`` if unknown."""
    make = models.network_factory(name)
    if name not in models.NETWORKS:  # its stages are found by a forward pass
        return make(classes).to("meta")
    with torch.device("meta"):
        return make(classes)


class FeaturesAndFlops(NamedTuple):
    """The features of one image, and the operations of its forward pass."""

    features: Features
    flops: int
    """Operations of a forward pass; a multiplication and an addition are two."""


def features_and_flops(network: Network, size: int) -> FeaturesAndFlops:
    """Run one blank (3, size, size) image. Raises ``UserError`` if it is too small."""
    image = torch.empty(1, 3, size, size, device="meta")
    with torch.no_grad():
        try:
            features = network.eval()(image)  # not counted: the first pass may check the size
        except ValueError as error:
            raise UserError(str(error)) from error
    return FeaturesAndFlops(features, flops_per_image(network, image))
