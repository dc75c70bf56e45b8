"""How alike a student is to its teacher: in what it answers (fidelity), and inside (CKA)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.evaluation.predictions import Answers, in_parts


class Fidelity(NamedTuple):
    """Stanton, Izmailov, Kirichenko, Alemi and Wilson, "Does Knowledge Distillation Really Work?",

    NeurIPS 2021, section 3.
    """

    agreement: float
    """Percent of images with the same top-1 class."""
    kl: float
    """Mean over images of KL(teacher || student) of the softmax at temperature 1, nats."""
    error_agreement: float | None
    """The first, of those images that the teacher has wrong; None where there is none."""


def fidelity(student: Answers, teacher: Answers) -> Fidelity:
    """Compare what the two say of the same images."""
    same = student.predicted == teacher.predicted
    wrong = teacher.predicted != teacher.labels
    kl = 0.0
    for ours, theirs in in_parts(student.logits, teacher.logits):
        ours, theirs = F.log_softmax(ours, dim=1), F.log_softmax(theirs, dim=1)
        kl += (theirs.exp() * (theirs - ours)).sum().item()
    on_errors = percent(same[wrong]) if wrong.any() else None
    # Rounding may leave a hair below zero where both are the same.
    return Fidelity(percent(same), max(0.0, kl / len(same)), on_errors)


def percent(held: Tensor) -> float:
    """Return how many of (N,) bools are true."""
    return 100 * held.double().mean().item()


def similarities(student: Answers, teacher: Answers) -> dict[str, float]:
    """Return linear CKA by place: stem, stage 1 to n, embedding.

    Stages are paired one to one, and left out where the two networks have different numbers of
    them. So is a place that says the same of every image, which has no CKA.
    """
    return dict(paired(student.maps, teacher.maps))


def paired(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
    """Yield places with their CKA."""
    alike = ours.keys() == theirs.keys()
    for place in ours:
        if alike or place in ("stem", "embedding"):
            value = linear_cka(ours[place], theirs[place])
            if value is not None:
                yield place, value


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Return |YᵀX|² / (|XᵀX| |YᵀY|) of (N, P) and (N, Q), columns centred, norms Frobenius's.

    Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited",
    ICML 2019, section 3, over all N images: a P x Q covariance in float64 needs no N x N matrix.
    There maps are flattened; here they come averaged over their positions, which says how alike
    channels are and not where, and lets maps of different sizes be compared. None where either is
    constant or not finite.
    """
    means = [values.double().mean(dim=0) for values in (x, y)]
    widths = x.shape[1], y.shape[1]
    xx, yy, xy = (
        torch.zeros(a, b, dtype=torch.float64)
        for a, b in ((widths[0],) * 2, (widths[1],) * 2, widths)
    )
    for a, b in in_parts(x, y):
        a, b = a - means[0], b - means[1]
        xx.addmm_(a.T, a)
        yy.addmm_(b.T, b)
        xy.addmm_(a.T, b)
    value = (xy.square().sum() / (xx.norm() * yy.norm())).item()
    # Above one by rounding alone; NaN, as of 0 / 0, is in no interval.
    return min(1.0, value) if 0 <= value < 1.001 else None
