"""CC's losses against numbers worked out by hand."""

from math import exp
from typing import Any

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.cc import CC, correlation_loss, kernel_matrix, neighbour_loss
from methods.interface import Budget, Shapes
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_loss_is_that_of_the_hand():
    # gamma = 1/2, so that the kernel is exp(-1) (1 + c + c^2/2) for a cosine c.
    # Student: a right angle, c = 0. Teacher: 60 degrees, c = 1/2: 1 + 1/2 + 1/8.
    # They differ by 5/8 exp(-1) at two of B^2 = 4 places.
    student = tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    teacher = tensor([[2.0, 0.0], [1.0, 3**0.5]], dtype=torch.float64)
    expected = (5 / 8 * exp(-1)) ** 2 / 2
    loss = correlation_loss(student, teacher, gamma=0.5, order=2)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_the_series_arrives_at_the_gaussian_kernel():
    x = noise(5, 4)
    kernel = torch.exp(-0.4 * torch.cdist(unit_rows(x), unit_rows(x)).square())
    torch.testing.assert_close(kernel_matrix(x, gamma=0.4, order=20), kernel)
    assert (kernel_matrix(x, gamma=0.4, order=2) - kernel).abs().max() < 0.05


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(4, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: correlation_loss(student, teacher, 0.4, 3), noise(4, 3, grad=True)
    )


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(4, 3), noise(4, 3, seed=1), [2, 0, 3, 1]
    shuffled = correlation_loss(student[order], teacher[order], 0.4, 2)
    torch.testing.assert_close(shuffled, correlation_loss(student, teacher, 0.4, 2))


def test_an_embedding_of_zeros_gives_an_ordinary_gradient():
    start = noise(4, 3).float()
    start[1] = 0
    student = start.requires_grad_()
    torch.autograd.backward(correlation_loss(student, noise(4, 3, seed=1).float(), 0.4, 2))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1


def test_the_loss_of_neighbours_is_that_of_the_hand():
    # |s - t|: (1, 2), (0, 3), (2, 1). Products of neighbours: 0 + 6 and 0 + 3, on average 4.5.
    student = tensor([[1.0, -2.0], [0.0, 3.0], [-2.0, 1.0]])
    assert neighbour_loss(student, torch.zeros(3, 2)).item() == 4.5
    assert neighbour_loss(student[:1], torch.zeros(1, 2)).item() == 0


def test_the_weight_is_that_of_the_embeddings_loss():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 12))(images())
    config = CC.Config(weight=10.0, gamma=0.3, order=4)
    method = CC(config, Shapes.of(student), Shapes.of(teacher))
    assert not list(method.parameters())
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    expected = 10 * correlation_loss(student.embedding, teacher.embedding, 0.3, 4)
    torch.testing.assert_close(losses["cc"], expected)
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))


def test_the_preset_crd_maps_both_embeddings_to_128_dimensions():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 12))(images())
    method = CC(CC.presets["crd"], Shapes.of(student), Shapes.of(teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    s, t = method.student_map(student.embedding), method.teacher_map(teacher.embedding)
    assert s.shape == t.shape == (4, 128)
    losses = phase.loss(student, teacher, batch())
    torch.testing.assert_close(losses["neighbours"], 0.02 * neighbour_loss(s, t))


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight", -1.0), ("gamma", 0.0), ("order", 0), ("dimensions", 0)],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        CC.Config(**{field: value})
