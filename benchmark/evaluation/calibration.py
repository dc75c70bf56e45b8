"""Whether a network's confidence fits its accuracy: ECE, NLL, Brier score, temperature scaling.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017. All numbers
are computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.evaluation.predictions import float64_chunks
from benchmark.store.measures import Calibration, CalibrationScores

BINS = 15
"""Of equal width, as in the paper's tables."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
"""Bounds of the fitted temperature. Without them, a network that makes no error would get zero, and
one that guesses would get infinity."""
RELATIVE_TOLERANCE = 1e-9
"""Relative change of the temperature at which the search stops."""


def score_calibration(
    logits: Tensor, labels: Tensor, inverse: Tensor | None = None
) -> CalibrationScores:
    """Return the scores of logits (N, K) for labels (N,).

    ``inverse`` (N,) is the inverse temperature of each image; by default 1. The ECE is equation 3.
    """
    inverse = torch.ones(len(logits), dtype=torch.float64) if inverse is None else inverse
    confidence, right, nll, brier = [], [], [], []
    for z, y, inverse_t in float64_chunks(logits, labels, inverse):
        log_probs = F.log_softmax(z * inverse_t[:, None], dim=1)
        probs = log_probs.exp()
        highest, predicted = probs.max(dim=1)
        confidence.append(highest)
        right.append((predicted == y).double())
        nll.append(F.nll_loss(log_probs, y, reduction="none"))
        brier.append((probs - F.one_hot(y, z.shape[1])).square().sum(dim=1))
    error = expected_calibration_error(torch.cat(confidence), torch.cat(right))
    return CalibrationScores(
        100 * error, torch.cat(nll).mean().item(), torch.cat(brier).mean().item()
    )


def expected_calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Return the ECE, 0 to 1, of (N,) confidences; bin m of M holds those in ((m - 1) / M, m / M].

    ``right`` (N,) is 1 where the prediction is correct, else 0.
    """
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidence, edges)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, right - confidence)
    return gaps.abs().sum().item() / len(confidence)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T within bounds that minimises the NLL of softmax(logits / T) (section 4.2).

    In 1/T the NLL is convex. Newton's method finds the root of its derivative; a step that leaves
    the current bracket is replaced by bisection of the bracket, in logarithms.
    """
    low, high, inverse = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE, 1.0
    for _ in range(200):
        slope, curvature = nll_derivatives(logits, labels, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else math.nan
        before, inverse = inverse, step if low < step < high else math.sqrt(low * high)
        if abs(inverse - before) <= RELATIVE_TOLERANCE * before:
            break
    return 1 / inverse


def nll_derivatives(logits: Tensor, labels: Tensor, inverse: float) -> tuple[float, float]:
    """Return the NLL's first and second derivative with respect to the inverse temperature."""
    first = second = 0.0
    for z, y in float64_chunks(logits, labels):
        probs = F.softmax(z * inverse, dim=1)
        centred = z - (probs * z).sum(dim=1, keepdim=True)
        first -= centred.gather(1, y[:, None]).sum().item()
        second += (probs * centred.square()).sum().item()
    return first / len(logits), second / len(logits)


def measure_calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """Return the calibration of N >= 2 images from logits (N, K) and labels (N,).

    The images at even indices are scaled by the temperature fitted to those at odd indices, and the
    reverse: no image is scored at a temperature that was fitted to it.
    """
    inverse = torch.empty(len(logits), dtype=torch.float64)
    for half in (0, 1):
        inverse[half::2] = 1 / fit_temperature(logits[1 - half :: 2], labels[1 - half :: 2])
    unscaled = score_calibration(logits, labels)
    scaled = score_calibration(logits, labels, inverse)
    temperature = fit_temperature(logits, labels)
    return Calibration(**asdict(unscaled), temperature=temperature, scaled=scaled)
