"""The optimizer of a phase and the learning rate of an epoch."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
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


def learning_rate(recipe: Recipe, phase: Phase, epoch: int) -> float:
    """Return the learning rate of a phase's ``epoch`` (from 0).

    The drops are shares of the phase, so that a shorter run keeps the schedule's form: 0.625 of 240
    epochs is a drop after epoch 150.
    """
    if phase.lr == "constant":
        return recipe.lr
    passed = sum(epoch >= round(drop * phase.epochs) for drop in recipe.lr_drops)
    return recipe.lr * recipe.lr_factor**passed
