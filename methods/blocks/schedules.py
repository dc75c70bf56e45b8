"""Weights that change in the course of a phase, as functions of ``Batch.progress``."""

import torch
from torch import Tensor


def warm_up(progress: Tensor, share: float) -> Tensor:
    """Rise linearly from 0 to 1 over the first ``share`` of a phase, then stay at 1.

    Scalar -> scalar. A share of 0 means no warm-up.
    """
    return (progress / share).clamp(max=1) if share > 0 else torch.ones_like(progress)
