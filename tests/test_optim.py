"""The learning rate follows the protocol, whatever the run's length."""

import pytest
import torch
from torch import nn

from benchmark.optim import learning_rate, sgd
from benchmark.runs import Recipe
from methods.interface import Phase

RECIPE = Recipe(epochs=240, batch_size=64, lr=0.05)


def phase(epochs: int, lr: str = "scheduled") -> Phase:
    return Phase("p", epochs, lambda *_: {}, lr=lr)  # type: ignore[arg-type]


def test_the_fields_schedule_drops_after_150_180_and_210_of_240_epochs():
    rates = [learning_rate(RECIPE, phase(240), epoch) for epoch in range(240)]
    expected = [0.05] * 150 + [0.005] * 30 + [0.0005] * 30 + [0.00005] * 30
    assert rates == pytest.approx(expected)


def test_a_shorter_phase_keeps_the_schedules_form():
    rates = [learning_rate(RECIPE, phase(8), epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.05] * 5 + [0.005, 0.0005, 0.00005])


def test_a_constant_phase_keeps_the_base_rate():
    assert {learning_rate(RECIPE, phase(30, "constant"), epoch) for epoch in range(30)} == {0.05}


def test_sgd_is_the_recipes_and_passes_over_what_has_no_gradient():
    moved, untouched = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = sgd([moved, untouched], RECIPE)
    torch.autograd.backward((2 * moved).sum())
    optimizer.step()
    # gradient 2 plus weight decay 5e-4, no momentum yet
    assert moved.tolist() == pytest.approx([1 - 0.05 * 2.0005] * 2)
    assert untouched.tolist() == [1, 1]
    torch.autograd.backward((2 * moved).sum())  # gradients add up: 4, so the second step sees 4
    before = moved.detach().clone()
    optimizer.step()
    # plain momentum, not Nesterov's: 0.9 * 2.0005 + 4 + 5e-4 * before
    step = 0.05 * (0.9 * 2.0005 + 4 + 5e-4 * before)
    torch.testing.assert_close(moved.detach(), before - step)
