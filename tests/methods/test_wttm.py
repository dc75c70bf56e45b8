"""WTTM's loss against numbers worked out by hand."""

from math import log
from typing import Any

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

from methods.interface import Budget, Shapes
from methods.kd import kl_divergence
from methods.wttm import WTTM, power_sum, transformed_divergence
from tests.methods.networks import TinyNet, batch, images, noise

# Teacher (9/10, 1/10): to the power 1/2 that is (3, 1) / sqrt(10), so (3/4, 1/4) of 4/sqrt(10).
TEACHER = tensor([[log(9), 0.0]], dtype=torch.float64)


def test_the_divergence_is_that_of_the_hand():
    # (3/4, 1/4) against the student's (1/2, 1/2): 3/4 log 3 - log 2
    student = tensor([[2.0, 2.0]], dtype=torch.float64)
    expected = 0.75 * log(3) - log(2)
    assert transformed_divergence(student, TEACHER, 0.5).item() == pytest.approx(expected)


def test_the_power_sum_is_that_of_the_hand_and_lies_between_its_bounds():
    assert power_sum(TEACHER, 0.5).item() == pytest.approx(4 / 10**0.5)
    sure_and_unsure = tensor([[1000.0, -1000, 0, 0], [3, 3, 3, 3]], dtype=torch.float64)
    assert power_sum(sure_and_unsure, 0.5).tolist() == pytest.approx([1, 4**0.5])


def test_without_weights_it_is_the_divergence_of_kd_with_a_softened_teacher():
    student, teacher = noise(5, 4), noise(5, 4, seed=1)
    mean = transformed_divergence(student, teacher, 0.25).mean()
    torch.testing.assert_close(mean, kl_divergence(student, teacher / 4, 1.0))


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(3, 4, seed=1)
    assert torch.autograd.gradcheck(
        lambda s: power_sum(teacher, 0.1) * transformed_divergence(s, teacher, 0.1),
        noise(3, 4, grad=True),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_an_exact_finite_loss_and_gradient(dtype: torch.dtype):
    student = tensor([[1000.0, -1000.0, 0.0]], dtype=dtype, requires_grad=True)
    teacher = tensor([[-1000.0, 1000.0, 0.0]], dtype=dtype)
    loss = (power_sum(teacher, 0.5) * transformed_divergence(student, teacher, 0.5)).sum()
    (gradient,) = torch.autograd.grad(loss, student)
    # p_t = (0, 1, 0) also to the power 1/2, log p_s = (0, -2000, -1000)
    assert loss.item() == 2000
    assert gradient[0].tolist() == pytest.approx([1, -1, 0])


@pytest.mark.parametrize("weighted", [True, False])
def test_beta_weighs_the_mean_and_the_power_sum_each_sample(weighted: bool):
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    method = WTTM(WTTM.Config(gamma=0.3, beta=7.0, weighted=weighted), shapes, shapes)
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))
    each = transformed_divergence(student.logits, teacher.logits, 0.3)
    weights = power_sum(teacher.logits, 0.3) if weighted else torch.ones(4)
    torch.testing.assert_close(losses["wttm"], 7 * (weights * each).sum() / 4)


def test_the_preset_ttm_has_no_weights_and_so_a_larger_beta():
    assert WTTM.Config().weighted
    assert not WTTM.presets["ttm"].weighted
    assert WTTM.presets["ttm"].beta > WTTM.Config().beta


@pytest.mark.parametrize(("field", "value"), [("gamma", 0.0), ("gamma", 1.1), ("beta", -1.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=field):
        WTTM.Config(**wrong)
