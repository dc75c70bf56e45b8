"""Normalisations that hold where torch's own give up: a single value, and vectors of zeros."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Norm(nn.BatchNorm2d):
    """BN of maps or of vectors, (B, C, H, W) or (B, C), for connectors.

    Where a channel has a single value (a batch of one, which an epoch's last may be) torch's own
    refuses to train: such a value would be its own mean. Then the running statistics are used.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected maps or vectors, got {input.dim()} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise over all axes but the second; the same shape comes back."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def unit_rows(x: Tensor, eps: float = 0.0) -> Tensor:
    """x / (||x|| + eps) over the last dimension; a vector of zeros stays and gets no gradient.

    ``F.normalize`` would hand such a vector its gradient times 1e12.
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (length + eps).masked_fill(length <= 1e-12, float("inf"))
