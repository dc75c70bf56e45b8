"""Whether a network is as sure as it is right: ECE, NLL, Brier score, and the temperature it needs.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017. All numbers
are worked out in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.evaluation.predictions import in_parts

BINS = 15
"""Of equal width, as in the paper's tables."""
COLDEST, HOTTEST = 0.01, 100.0
"""Between these a temperature is looked for: without a bound, a network that has no image wrong
would be given zero, and one that knows nothing infinity."""
CLOSE = 1e-9
"""To what share of itself it is found."""


class Sharpness(NamedTuple):
    """How well predicted probabilities fit: all better when lower."""

    ece: float
    """Equation 3, in percent."""
    nll: float
    """Nats."""
    brier: float
    """Mean over images of the squared distance to the label's unit vector, 0 to 2 (Brier, 1950)."""


def sharpness(logits: Tensor, labels: Tensor, inverse: Tensor | None = None) -> Sharpness:
    """Of logits (N, K) and labels (N,); ``inverse`` (N,): the inverse temperature of each image."""
    inverse = torch.ones(len(logits), dtype=torch.float64) if inverse is None else inverse
    confidence, right, nll, brier = [], [], [], []
    for z, y, by in in_parts(logits, labels, inverse):
        logs = F.log_softmax(z * by[:, None], dim=1)
        shares = logs.exp()
        highest, predicted = shares.max(dim=1)
        confidence.append(highest)
        right.append((predicted == y).double())
        nll.append(F.nll_loss(logs, y, reduction="none"))
        brier.append((shares - F.one_hot(y, z.shape[1])).square().sum(dim=1))
    error = expected_error(torch.cat(confidence), torch.cat(right))
    return Sharpness(100 * error, torch.cat(nll).mean().item(), torch.cat(brier).mean().item())


def expected_error(confidence: Tensor, right: Tensor) -> float:
    """Return the ECE of (N,) confidences: bin m holds those in ((m - 1) / M, m / M]."""
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidence, edges)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, right - confidence)
    return gaps.abs().sum().item() / len(confidence)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T within bounds that minimises the NLL of softmax(logits / T) (section 4.2).

    In 1/T the NLL is convex: Newton's steps on its slope, and where one leaves the bracket that the
    slopes so far have left, the bracket's middle (of logarithms).
    """
    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(200):
        slope, curvature = slopes(logits, labels, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else math.nan
        before, inverse = inverse, step if low < step < high else math.sqrt(low * high)
        if abs(inverse - before) <= CLOSE * before:
            break
    return 1 / inverse


def slopes(logits: Tensor, labels: Tensor, inverse: float) -> tuple[float, float]:
    """Return the NLL's first and second derivative by the inverse temperature."""
    first = second = 0.0
    for z, y in in_parts(logits, labels):
        shares = F.softmax(z * inverse, dim=1)
        centred = z - (shares * z).sum(dim=1, keepdim=True)
        first -= centred.gather(1, y[:, None]).sum().item()
        second += (shares * centred.square()).sum().item()
    return first / len(logits), second / len(logits)


class Calibration(NamedTuple):
    """As trained, and after temperature scaling."""

    plain: Sharpness
    temperature: float
    """Fitted to all images."""
    scaled: Sharpness
    """Those at even places by the temperature fitted to those at odd ones, and the reverse."""

    def as_json(self) -> dict[str, object]:
        """Return what a record says."""
        scaled = self.scaled._asdict()
        return {**self.plain._asdict(), "temperature": self.temperature, "scaled": scaled}


def calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """Of N images, two at least: logits (N, K), labels (N,)."""
    inverse = torch.empty(len(logits), dtype=torch.float64)
    for half in (0, 1):
        inverse[half::2] = 1 / temperature(logits[1 - half :: 2], labels[1 - half :: 2])
    plain, scaled = sharpness(logits, labels), sharpness(logits, labels, inverse)
    return Calibration(plain, temperature(logits, labels), scaled)
