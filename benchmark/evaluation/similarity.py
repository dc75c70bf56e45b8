"""How similar a student is to its teacher: its predictions (fidelity) and its features (CKA)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.evaluation.predictions import Predictions, float64_chunks
from benchmark.store.measures import Fidelity


def measure_fidelity(student: Predictions, teacher: Predictions) -> Fidelity:
    """Return how far the predictions of two networks on the same images agree.

    Stanton, Izmailov, Kirichenko, Alemi and Wilson, "Does Knowledge Distillation Really Work?",
    NeurIPS 2021, section 3. KL is of the softmax at temperature 1.
    """
    same = student.predicted == teacher.predicted
    wrong = teacher.predicted != teacher.labels
    kl = 0.0
    for s, t in float64_chunks(student.logits, teacher.logits):
        s, t = F.log_softmax(s, dim=1), F.log_softmax(t, dim=1)
        kl += (t.exp() * (t - s)).sum().item()
    on_errors = percent_true(same[wrong]) if wrong.any() else None
    # Where both are the same, rounding may make the sum slightly negative.
    return Fidelity(percent_true(same), max(0.0, kl / len(same)), on_errors)


def percent_true(flags: Tensor) -> float:
    """Return the share of true values among (N,) bools, in percent."""
    return 100 * flags.double().mean().item()


def cka_by_layer(student: Predictions, teacher: Predictions) -> dict[str, float]:
    """Return linear CKA by layer: stem, stage 1 to n, embedding.

    Stages are left out where the two networks have different numbers of them, and so is a layer
    that is the same for every image, which has no CKA.
    """
    same_stages = student.maps.keys() == teacher.maps.keys()
    layers = [*student.maps] if same_stages else ["stem", "embedding"]
    values = {layer: linear_cka(student.maps[layer], teacher.maps[layer]) for layer in layers}
    return {layer: value for layer, value in values.items() if value is not None}


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Return |YᵀX|² / (|XᵀX| |YᵀY|) of (N, P) and (N, Q), columns centred, norms Frobenius's.

    Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited",
    ICML 2019, section 3, over all N images: a P x Q covariance in float64 needs no N x N matrix.
    The paper flattens feature maps. Here they are averaged over their positions, so that maps of
    different sizes can be compared; this compares channels, not positions. None where either is
    constant or not finite.
    """
    means = [values.double().mean(dim=0) for values in (x, y)]
    widths = x.shape[1], y.shape[1]
    xx, yy, xy = (
        torch.zeros(a, b, dtype=torch.float64)
        for a, b in ((widths[0],) * 2, (widths[1],) * 2, widths)
    )
    for a, b in float64_chunks(x, y):
        a, b = a - means[0], b - means[1]
        xx.addmm_(a.T, a)
        yy.addmm_(b.T, b)
        xy.addmm_(a.T, b)
    value = (xy.square().sum() / (xx.norm() * yy.norm())).item()
    # Rounding may give slightly more than one. NaN, from 0 / 0, fails the comparison.
    return min(1.0, value) if 0 <= value < 1.001 else None
