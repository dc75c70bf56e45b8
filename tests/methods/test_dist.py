"""DIST's losses against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.dist import DIST, correlation, relation_losses
from methods.interface import Budget, Shapes
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_losses_are_those_of_the_hand():
    # The first sample's deviations from 1/3 are (2, -1, -1)/12 and (-1, 2, -1)/12: correlation
    # (-2 - 2 + 1) / 6 = -1/2. The second sample is alike: 1. Inter: (3/2 + 0) / 2.
    # Class 0 does not vary in the teacher, class 1 not in the student: 0. Class 2 is alike: 1.
    # Intra: (1 + 1 + 0) / 3. The authors' 1e-8 shows in the seventh decimal.
    student = tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], dtype=torch.float64)
    teacher = tensor([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]], dtype=torch.float64)
    inter, intra = relation_losses(2 * student.log(), 2 * teacher.log(), tau=2.0)
    assert inter.item() == pytest.approx(3 / 4, abs=1e-6)
    assert intra.item() == pytest.approx(2 / 3, abs=1e-6)


def test_the_correlation_is_pearsons():
    x, y = noise(4, 7), noise(4, 7, seed=1)
    expected = torch.stack(
        [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(x, y, strict=True)]
    )
    torch.testing.assert_close(correlation(x, y), expected)


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_agrees_with_finite_differences(which: int):
    teacher = noise(4, 5, seed=1)

    def loss(student: Tensor) -> Tensor:
        return relation_losses(student, teacher, 2.0)[which]

    assert torch.autograd.gradcheck(loss, noise(4, 5, grad=True))


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(4, 5), noise(4, 5, seed=1), [2, 0, 3, 1]
    shuffled = relation_losses(student[order], teacher[order], 4.0)
    torch.testing.assert_close(shuffled, relation_losses(student, teacher, 4.0))


def test_equal_logits_leave_next_to_nothing():
    inter, intra = relation_losses(noise(8, 5), noise(8, 5), 1.0)
    assert 0 <= inter.item() < 1e-6
    assert 0 <= intra.item() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_a_finite_loss_and_gradient(dtype: torch.dtype):
    student = (1000 * noise(4, 3).sign()).to(dtype).requires_grad_()
    losses = relation_losses(student, -student.detach(), 1.0)
    torch.autograd.backward(torch.stack(losses).sum())
    assert all(loss.isfinite() for loss in losses)
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_logits_that_do_not_vary_get_no_gradient():
    student = torch.zeros(4, 2, requires_grad=True)
    inter, intra = relation_losses(student, noise(4, 2).float(), 1.0)
    torch.autograd.backward(inter + intra)
    assert inter.item() == intra.item() == 1
    assert student.grad is not None
    assert not student.grad.any()


def test_one_sample_has_no_intra_class_relation():
    inter, intra = relation_losses(noise(1, 5), noise(1, 5, seed=1), 1.0)
    assert inter.item() > 0
    assert intra.item() == 0


def test_the_weights_are_beta_and_gamma_times_tau_squared():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 12))(images())
    config = DIST.Config(beta=3.0, gamma=7.0, tau=2.0)
    (phase,) = DIST(config, Shapes.of(student), Shapes.of(teacher)).phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    inter, intra = relation_losses(student.logits, teacher.logits, 2.0)
    torch.testing.assert_close(losses["inter"], 3 * 4 * inter)
    torch.testing.assert_close(losses["intra"], 7 * 4 * intra)
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))


@pytest.mark.parametrize(("field", "value"), [("tau", 0.0), ("beta", -1.0), ("gamma", -1.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        DIST.Config(**{field: value})
