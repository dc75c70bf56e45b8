"""The optimizer of a phase and the learning rate of an epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from benchmark.runs import Recipe
from methods.interface import Phase


def sgd(parameters: Iterable[nn.Parameter], recipe: Recipe) -> SGD:
    """Build the recipe's SGD. It passes over what has no gradient, with weight decay too."""
    return SGD(
        list(parameters),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )


def set_rate(optimizer: SGD, rate: float, device: torch.device) -> None:
    """Set the learning rate: a tensor on the device, where a captured step finds the next too.

    It gives the bits that a float gives on a CPU; CUDA's kernel takes a float at more digits.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = torch.full((), rate, device=device)


def state_of(optimizer: SGD, rate: float) -> dict[str, Any]:
    """Return what a checkpoint keeps of an optimizer, the learning rate as a number."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = rate
    return state


def learning_rate(recipe: Recipe, phase: Phase, epoch: int) -> float:
    """Return the learning rate of a phase's ``epoch`` (from 0).

    The drops are shares of the phase, so that a shorter run keeps the schedule's form: 0.625 of 240
    epochs is a drop after epoch 150.
    """
    if phase.lr == "constant":
        return recipe.lr
    passed = sum(epoch >= round(drop * phase.epochs) for drop in recipe.lr_drops)
    return recipe.lr * recipe.lr_factor**passed
