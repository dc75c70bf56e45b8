"""The optimizer of a phase and the learning rate of an epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import sgd

from benchmark.config.recipe import Recipe
from methods.interface import Phase


class SGD:
    """What ``torch.optim.SGD(fused=True)`` does, to the bit, by the same function of torch.

    The class would load torch's compiler, which takes every job two seconds. And here a parameter
    whose first gradient comes late has a first step of its own; there that is an error.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self.recipe = [*parameters], recipe
        self.rate: float | Tensor = recipe.lr
        self.momenta: dict[int, Tensor] = {}
        """By a parameter's place, once it has had a gradient."""

    def set_rate(self, rate: float, device: torch.device) -> None:
        """Set the learning rate: a tensor on the device, where a captured step finds the next too.

        It gives the bits that a float gives on a CPU; CUDA's kernel takes a float at more digits.
        """
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = torch.full((), rate, device=device)

    def forget_gradients(self) -> None:
        """To None, not to zero: what a loss does not reach must not move, not even by decay."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move what has a gradient, and pass over what has none, with weight decay too."""
        reached = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for places in (
            [i for i in reached if i in self.momenta],
            [i for i in reached if i not in self.momenta],
        ):
            momenta = [self.momenta.get(i) for i in places]
            sgd.sgd(
                [self.parameters[i] for i in places],
                [grad for i in places if (grad := self.parameters[i].grad) is not None],
                momenta,
                fused=True,
                weight_decay=self.recipe.weight_decay,
                momentum=self.recipe.momentum,
                lr=self.rate,
                dampening=0,
                nesterov=self.recipe.nesterov,
                maximize=False,
            )
            made = zip(places, momenta, strict=True)
            self.momenta |= {i: momentum for i, momentum in made if momentum is not None}

    def state(self) -> dict[int, dict[str, Tensor]]:
        """Return what the next steps depend on, beside parameters and learning rate, as torch."""
        return {i: {"momentum_buffer": momentum} for i, momentum in self.momenta.items()}

    def load_state(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Go on from what ``state`` returned, on these parameters' device."""
        self.momenta = {
            i: one["momentum_buffer"].to(self.parameters[i].device, copy=True)
            for i, one in state.items()
        }


def learning_rate(recipe: Recipe, phase: Phase, epoch: int) -> float:
    """Return the learning rate of a phase's ``epoch`` (from 0).

    The drops are shares of the phase, so that a shorter run keeps the schedule's form: 0.625 of 240
    epochs is a drop after epoch 150.
    """
    if phase.lr == "constant":
        return recipe.lr
    passed = sum(epoch >= round(drop * phase.epochs) for drop in recipe.lr_drops)
    return recipe.lr * recipe.lr_factor**passed
