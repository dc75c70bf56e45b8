"""The learning rate follows the protocol, whatever the run's length."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmark.config.recipe import Recipe
from benchmark.training.optimizer import SGD, learning_rate
from methods.interface import Phase

RECIPE = Recipe(epochs=240, batch_size=64, lr=0.05)


def phase(epochs: int, lr: str | float = "scheduled") -> Phase:
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


def test_a_phase_may_state_its_own_rate():
    assert {learning_rate(RECIPE, phase(30, 0.01), epoch) for epoch in range(30)} == {0.01}


def test_sgd_is_the_recipes_and_passes_over_what_has_no_gradient():
    moved, untouched = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SGD([moved, untouched], RECIPE)
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


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_steps_have_the_bits_of_torchs_optimizer(momentum, nesterov):
    recipe = RECIPE.model_copy(update={"momentum": momentum, "nesterov": nesterov})
    weights = [[nn.Parameter(torch.linspace(-1, 1, n)) for n in (7, 999)] for _ in range(2)]
    ours = SGD(weights[0], recipe)
    torchs = torch.optim.SGD(
        weights[1], 0.05, momentum, weight_decay=5e-4, nesterov=nesterov, fused=True
    )
    for step in range(4):
        for one in (*weights[0], *weights[1]):
            one.grad = (one.detach() + step).sin()
        ours.step()
        torchs.step()
        assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_first_gradient_may_come_late():
    early, late = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SGD([early, late], RECIPE)
    for gradients in ((1.0, None), (1.0, 2.0)):
        for one, gradient in zip((early, late), gradients, strict=True):
            one.grad = None if gradient is None else torch.full((2,), gradient)
        optimizer.step()
    assert late.tolist() == pytest.approx([1 - 0.05 * 2.0005] * 2)


def test_a_job_does_without_what_is_slow_to_import():
    code = """
import sys, torch, benchmark.job.__main__
from benchmark.config.recipe import Recipe
from benchmark.data.sets.digits import read_digits
from benchmark.training.numerics import apply_profile
from benchmark.training.optimizer import SGD
apply_profile("strict")
weight = torch.nn.Parameter(torch.ones(1))
weight.grad = torch.ones(1)
SGD([weight], Recipe(epochs=1, batch_size=2, lr=0.1)).step()
read_digits()
sys.exit(", ".join({"torch._dynamo", "sklearn", "scipy", "pandas"} & sys.modules.keys()) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
