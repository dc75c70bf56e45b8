"""NST's discrepancy against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from torch import nn, tensor

from methods.interface import Budget, Features, Shapes
from methods.nst import NST, squared_mmd
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_discrepancy_is_that_of_the_hand():
    # Maps of two positions, scaled to length 1. Teacher, one channel: (3, 4) -> (.6, .8).
    # Student, two channels: (5, 0) -> (1, 0) and (0, 2) -> (0, 1).
    # k(t, t) = 1, mean 1; k(s, s): 1 twice and 0 twice, mean 1/2; k(s, t) = .36 and .64, mean 1/2.
    # 1 + 1/2 - 2 * 1/2 = 1/2. The second image's student is its teacher: 0. Mean: 1/4.
    teacher = tensor([[[[3.0, 4.0]]], [[[1.0, 1.0]]]], dtype=torch.float64)
    student = tensor([[[[5.0, 0.0]], [[0.0, 2.0]]], [[[1.0, 1.0]], [[7.0, 7.0]]]]).double()
    assert squared_mmd(student, teacher).item() == pytest.approx(0.25, abs=1e-12)


def test_it_is_the_squared_distance_of_mean_embeddings():
    # (x . y)^2 is the inner product of x x^T and y y^T: MMD^2 = || mean x x^T - mean y y^T ||^2.
    student, teacher = noise(3, 5, 2, 3), noise(3, 4, 2, 3, seed=1)
    s, t = (nn.functional.normalize(x.flatten(2), dim=2) for x in (student, teacher))
    embedded = [torch.einsum("bcm,bcn->bmn", x, x) / x.shape[1] for x in (s, t)]
    expected = (embedded[0] - embedded[1]).square().sum(dim=(1, 2)).mean()
    torch.testing.assert_close(squared_mmd(student, teacher), expected)


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(2, 4, 2, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: squared_mmd(student, teacher), noise(2, 3, 2, 2, grad=True)
    )


def test_neither_the_scale_nor_the_order_of_channels_matters():
    student, teacher = noise(2, 4, 2, 2), noise(2, 5, 2, 2, seed=1)
    scales = noise(2, 4, 1, 1, seed=2).exp()
    changed = (scales * student)[:, [2, 0, 3, 1]]
    torch.testing.assert_close(squared_mmd(changed, teacher), squared_mmd(student, teacher))


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(3, 4, 2, 2), noise(3, 4, 2, 2, seed=1), [2, 0, 1]
    shuffled = squared_mmd(student[order], teacher[order])
    torch.testing.assert_close(shuffled, squared_mmd(student, teacher))


def test_a_channel_that_is_all_zero_gives_a_finite_loss_and_no_gradient():
    student = torch.ones(2, 3, 2, 2)
    student[:, 1] = 0
    student.requires_grad_()
    loss = squared_mmd(student, torch.zeros(2, 3, 2, 2))
    torch.autograd.backward(loss)
    # Four of the nine pairs of the student's channels agree fully: 4/9.
    assert loss.item() == pytest.approx(4 / 9)
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert (student.grad[:, 1] == 0).all()


def test_the_terms_are_cross_entropy_and_fifty_times_the_stages_sum():
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16))
    student_features, teacher_features = student(images()), teacher(images())
    (phase,) = NST(NST.Config(), Shapes.of(student_features), Shapes.of(teacher_features)).phases(
        Budget(240, "extra")
    )
    assert (phase.epochs, phase.lr) == (240, "scheduled")
    expected = sum(
        squared_mmd(s, t)
        for s, t in zip(student_features.stages, teacher_features.stages, strict=True)
    )
    losses = phase.loss(student_features, without_preacts(teacher_features), batch())
    torch.testing.assert_close(losses["nst"], 50 * expected)
    torch.testing.assert_close(
        losses["ce"], nn.functional.cross_entropy(student_features.logits, batch().labels)
    )


def without_preacts(features: Features) -> Features:
    return features._replace(preacts=(), stem=torch.tensor(torch.nan))


@pytest.mark.parametrize(("field", "value"), [("weight", 0.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        NST.Config(**{field: value})
