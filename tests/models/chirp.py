"""Weights and images by formula, so that figures computed by other people's code can be compared.

The figures in the tests are of the public networks, filled in this way and run in train mode.
"""

import torch
from torch import Tensor, nn


def chirp(*shape: int, start: float = 0.0) -> Tensor:
    """sin(n^2 + start) for n = 0, 1, 2 ...: float64, of unit variance, nowhere periodic."""
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (2**0.5 * torch.sin(n.square() + start)).view(shape)


@torch.no_grad()
def fill(network: nn.Module) -> nn.Module:
    """Give every weight its value, in the order of the state_dict; batch norms become uneven."""
    network.double()
    for position, parameter in enumerate(network.parameters()):
        values = chirp(*parameter.shape, start=position)
        if parameter.dim() > 1:
            parameter.copy_(values / parameter[0].numel() ** 0.5)
        else:
            parameter.copy_(1 + values / 4)
    return network.train()


def images() -> Tensor:
    """(2, 3, 32, 32)."""
    return chirp(2, 3, 32, 32, start=0.5)
