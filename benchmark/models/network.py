"""What every network shows, beside the features of a forward pass."""

from abc import ABC, abstractmethod

from torch import nn


class Network(nn.Module, ABC):
    """``forward(images)`` returns ``Features``; what else methods may ask for is named here."""

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """What reads the embedding."""

    @property
    @abstractmethod
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact; in a residual block its last."""
