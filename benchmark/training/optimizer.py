"""SGD, and the learning rate of an epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import sgd

from benchmark.config.recipe import Recipe
from methods.interface import Phase


class SGD:
    """Equals ``torch.optim.SGD(fused=True)`` bit for bit and calls the same function of torch.

    There are two reasons not to use torch's class. It loads torch's compiler, which costs every job
    two seconds. And it raises an error for parameters whose first gradient comes at a later step.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self.recipe = [*parameters], recipe
        self.rate: float | Tensor = recipe.lr
        self.momenta: dict[int, Tensor] = {}
        """By the index of the parameter, which is absent before its first gradient."""

    def set_rate(self, rate: float, device: torch.device) -> None:
        """Set the learning rate.

        It is a tensor on the device, so that a captured CUDA graph reads later rates from the same
        memory. On a CPU the results equal those of a float; CUDA's kernel uses more digits of one.
        """
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = torch.full((), rate, device=device)

    def forget_gradients(self) -> None:
        """Set gradients to None, not to zero: a parameter that no loss reaches must not decay."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient; the others do not even decay."""
        indices = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        # torch expects all momenta to be None, or none of them.
        for group in (
            [i for i in indices if i in self.momenta],
            [i for i in indices if i not in self.momenta],
        ):
            momenta = [self.momenta.get(i) for i in group]
            sgd.sgd(
                [self.parameters[i] for i in group],
                [grad for i in group if (grad := self.parameters[i].grad) is not None],
                momenta,
                fused=True,
                weight_decay=self.recipe.weight_decay,
                momentum=self.recipe.momentum,
                lr=self.rate,
                dampening=0,
                nesterov=self.recipe.nesterov,
                maximize=False,
            )
            pairs = zip(group, momenta, strict=True)
            self.momenta |= {i: momentum for i, momentum in pairs if momentum is not None}

    def state(self) -> dict[int, dict[str, Tensor]]:
        """Return the momenta, in the format of torch's ``state_dict()["state"]``."""
        return {i: {"momentum_buffer": momentum} for i, momentum in self.momenta.items()}

    def load_state(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Restore what ``state`` returned, on the device of the parameters."""
        self.momenta = {
            i: one["momentum_buffer"].to(self.parameters[i].device, copy=True)
            for i, one in state.items()
        }


def learning_rate(recipe: Recipe, phase: Phase, epoch: int) -> float:
    """Return the learning rate of a phase's ``epoch``, which counts from 0.

    The drops are fractions of the phase, so that a shorter run keeps the shape of the schedule: for
    240 epochs, 0.625 is a drop after epoch 150.
    """
    if isinstance(phase.lr, int | float):
        return float(phase.lr)
    if phase.lr == "constant":
        return recipe.lr
    passed = sum(epoch >= round(drop * phase.epochs) for drop in recipe.lr_drops)
    return recipe.lr * recipe.lr_factor**passed
