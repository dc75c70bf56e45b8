"""PKT's loss against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

from methods.interface import Budget, Shapes
from methods.pkt import PKT, neighbour_probabilities, transfer_loss
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_loss_is_that_of_the_hand():
    # Student: two vectors of one direction, affinities 1, q = (1/2, 1/2) in both rows.
    # Teacher: a right angle, affinities 1 and (0 + 1)/2, p = (2/3, 1/3) and (1/3, 2/3).
    # A row's KL is 2/3 log(4/3) + 1/3 log(2/3); two rows over B^2 = 4.
    student = tensor([[1.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    teacher = tensor([[3.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    expected = (2 / 3 * log(4 / 3) + 1 / 3 * log(2 / 3)) / 2
    # The 1e-7 in the logarithm, whose slope here is 2, shows in the seventh decimal.
    assert transfer_loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)


def test_opposite_vectors_are_no_neighbours():
    torch.testing.assert_close(
        neighbour_probabilities(tensor([[1.0, 0.0], [-2.0, 0.0]])), torch.eye(2)
    )


def test_neighbour_probabilities_sum_to_one():
    torch.testing.assert_close(
        neighbour_probabilities(noise(5, 3)).sum(1), torch.ones(5, dtype=torch.float64)
    )


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(4, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: transfer_loss(student, teacher), noise(4, 3, grad=True)
    )


def test_turning_and_scaling_leave_no_loss():
    x = noise(5, 4)
    turn, _ = torch.linalg.qr(noise(4, 4, seed=2))
    assert transfer_loss(5 * x @ turn, x).item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(4, 3), noise(4, 3, seed=1), [2, 0, 3, 1]
    shuffled = transfer_loss(student[order], teacher[order])
    torch.testing.assert_close(shuffled, transfer_loss(student, teacher))


def test_an_embedding_of_zeros_gives_an_ordinary_gradient():
    start = noise(4, 3).float()
    start[1] = 0
    student = start.requires_grad_()
    torch.autograd.backward(transfer_loss(student, noise(4, 3, seed=1).float()))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1  # the authors' square root makes it NaN
    assert student.grad[1].tolist() == [0, 0, 0]


def test_the_weight_is_that_of_the_embeddings_divergence():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 12))(images())
    method = PKT(PKT.Config(weight=10.0), Shapes.of(student), Shapes.of(teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    expected = 10 * transfer_loss(student.embedding, teacher.embedding)
    torch.testing.assert_close(losses["pkt"], expected)
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight"):
        PKT.Config(weight=-1.0)
