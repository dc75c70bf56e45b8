"""Random numbers for losses: from a counter that is checkpointed, never from a global generator."""

import torch
from torch import Tensor, nn

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as signed 64-bit integers, whose overflow wraps
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class Draws(nn.Module):
    """A source of draws that goes on where a checkpoint left it, with the same bits on any device.

    Its key is drawn when it is built, which is under the seed that belongs to the run's connectors.
    """

    key: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key", torch.randint(2**62, ()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def integers(self, shape: tuple[int, ...], below: int) -> Tensor:
        """Draw int64 numbers, even in [0, below) to one part in 2^31."""
        return (self._words(shape) * below) >> 31

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw float32 numbers, even in [0, 1)."""
        return (self._words(shape) >> 7) / 2**24

    def _words(self, shape: tuple[int, ...]) -> Tensor:
        """31 random bits each, by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
        size = torch.Size(shape).numel()
        places = self.count + torch.arange(size, device=self.count.device)
        self.count += size
        words = self.key + _GOLDEN * (places + 1)
        words = (words ^ _shifted(words, 30)) * _FIRST
        words = (words ^ _shifted(words, 27)) * _SECOND
        return _shifted(words ^ _shifted(words, 31), 33).reshape(shape)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shift to the right as if unsigned."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
