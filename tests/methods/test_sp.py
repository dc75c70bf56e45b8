"""SP's loss against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

from methods.interface import Budget, Shapes
from methods.sp import SP, similarity_loss
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_loss_is_that_of_the_hand():
    # Student: (1, 0) and (1, 1): inner products (1, 1) and (1, 2) ~ (1, 1)/sqrt 2, (1, 2)/sqrt 5.
    # Teacher: (3, 0) and (0, 5): (9, 0) and (0, 25) ~ (1, 0), (0, 1).
    # Squared differences: rows of 2 - sqrt 2 and 2 - 4/sqrt 5; their sum over B^2 = 4.
    student = tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]], dtype=torch.float64)
    teacher = tensor([[[[3.0]], [[0.0]]], [[[0.0]], [[5.0]]]], dtype=torch.float64)
    expected = (4 - 2**0.5 - 4 / 5**0.5) / 4
    assert similarity_loss(student, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(4, 2, 3, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: similarity_loss(student, teacher), noise(4, 3, 2, 2, grad=True)
    )


def test_features_alike_up_to_scale_have_no_loss():
    features = noise(4, 3, 2, 2)
    assert similarity_loss(features, 7 * features).item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(4, 3, 2, 2), noise(4, 3, 2, 2, seed=1), [2, 0, 3, 1]
    shuffled = similarity_loss(student[order], teacher[order])
    torch.testing.assert_close(shuffled, similarity_loss(student, teacher))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_without_activity_gives_an_ordinary_gradient(dtype: torch.dtype):
    start = noise(3, 2, 2, 2).to(dtype)
    start[1] = 0
    student = start.requires_grad_()
    torch.autograd.backward(similarity_loss(student, noise(3, 2, 2, 2, seed=1).to(dtype)))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10  # F.normalize makes it 1e11


def test_gamma_weighs_the_last_stage():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 8))(images())
    (phase,) = SP(SP.Config(gamma=10.0), Shapes.of(student), Shapes.of(teacher)).phases(
        Budget(8, "inside")
    )
    losses = phase.loss(student, teacher, batch())
    expected = 10 * similarity_loss(student.stages[-1], teacher.stages[-1])
    torch.testing.assert_close(losses["sp"], expected)
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))


@pytest.mark.parametrize(("field", "value"), [("gamma", -1.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        SP.Config(**{field: value})
