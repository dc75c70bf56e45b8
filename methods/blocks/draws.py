"""Random numbers for losses, from a checkpointed counter instead of a global generator."""

import torch
from torch import Tensor, nn

# The constants of SplitMix64 as signed 64-bit integers, whose overflow wraps around.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class Draws(nn.Module):
    """A counter-based generator: a resumed run continues its sequence, with equal bits anywhere.

    The key is drawn from torch's global generator when the module is built, that is under the
    run's seed for connectors.
    """

    key: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key", torch.randint(2**62, ()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def integers(self, shape: tuple[int, ...], below: int) -> Tensor:
        """Draw int64 numbers, uniform on [0, below) up to one part in 2^31."""
        return (self._words(shape) * below) >> 31

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw float32 numbers, uniform on [0, 1)."""
        return (self._words(shape) >> 7) / 2**24

    def _words(self, shape: tuple[int, ...]) -> Tensor:
        """Return 31 random bits each, by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
        size = torch.Size(shape).numel()
        positions = self.count + torch.arange(size, device=self.count.device)
        self.count += size
        words = self.key + _GOLDEN * (positions + 1)
        words = (words ^ _shift_right(words, 30)) * _FIRST
        words = (words ^ _shift_right(words, 27)) * _SECOND
        return _shift_right(words ^ _shift_right(words, 31), 33).reshape(shape)


def _shift_right(words: Tensor, bits: int) -> Tensor:
    """Shift as if the words were unsigned: zeros come in from the left."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
