"""The interface of all networks."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from methods.interface import Features


class Network(nn.Module, ABC):
    """A network whose ``forward(images)`` returns ``Features``."""

    narrow: torch.dtype | None = None
    """The data type that autocast computes in; features are float32 in any case."""

    def __call__(self, images: Tensor) -> Any:  # noqa: ANN401  (Features, as forward says)
        """Run normalised images (B, 3, H, W)."""
        if self.narrow is None:
            return super().__call__(images)
        # Every weight is read once a pass, so a cache of narrow ones would save nothing; and a
        # CUDA graph must not read one that an earlier pass has left.
        with torch.autocast(images.device.type, self.narrow, cache_enabled=False):
            seen = super().__call__(images)
        return features_in_float32(seen)

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""

    @property
    @abstractmethod
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact; in a residual block its last."""

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The modules that are applied after the last stage; the classifier is among them."""
        return (self.head,)


def features_in_float32(seen: Features) -> Features:
    """Return features in float32, because the losses of methods know nothing of autocast."""

    def wide(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.float() for x in maps)

    return Features._make(x.float() if isinstance(x, Tensor) else wide(x) for x in seen)
