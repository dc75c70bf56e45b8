"""Normalisations that also work for a single value and for vectors of zeros, unlike torch's."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Norm(nn.BatchNorm2d):
    """Batch norm of maps (B, C, H, W) or vectors (B, C), for connectors.

    A channel may have a single value: an epoch's last batch can hold one sample. torch's own batch
    norm raises an error there in train mode. This one uses its running statistics instead.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected maps or vectors, got {input.dim()} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise over all axes but the second; the shape stays."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def unit_rows(x: Tensor, eps: float = 0.0) -> Tensor:
    """x / (||x|| + eps) over the last dimension. A vector of zeros stays zero, without a gradient.

    ``F.normalize`` would multiply such a vector's gradient by 1e12.
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (length + eps).masked_fill(length <= 1e-12, float("inf"))
