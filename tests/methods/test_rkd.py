"""RKD's losses against numbers worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.interface import Budget, Shapes
from methods.rkd import RKD, angle_cosines, angle_loss, distance_loss
from tests.methods.networks import TinyNet, batch, images, noise

LOSSES = pytest.mark.parametrize("loss", [distance_loss, angle_loss])
Loss = Callable[[Tensor, Tensor], Tensor]


def test_the_distance_loss_is_that_of_the_hand():
    # Student 0, 1, 3: distances 1, 3, 2 (01, 02, 12) over their mean 2: 1/2, 3/2, 1.
    # Teacher 0, 2, 1: distances 2, 1, 1 over their mean 4/3: 3/2, 3/4, 3/4.
    # Smooth L1 of -1, 3/4, 1/4: 1/2, 9/32, 1/32, in all 26/32; each pair twice, over B^2 = 9.
    student = tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    teacher = tensor([[0.0], [2.0], [1.0]], dtype=torch.float64)
    expected = 2 * 26 / 32 / 9
    assert distance_loss(student, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_the_angle_loss_is_that_of_the_hand():
    # Student: a right angle at sample 0, cosines 0, h, h with h = sqrt 1/2.
    # Teacher: 0, 1, 2 on a line, cosines 1, -1, 1.
    # Smooth L1 of -1, h + 1, h - 1: 1/2, h + 1/2, (1 - h)^2 / 2. Two triples each, over B^3 = 27.
    student = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    teacher = tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    h = 0.5**0.5
    expected = 2 * (0.5 + h + 0.5 + (1 - h) ** 2 / 2) / 27
    assert angle_loss(student, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_angles_are_at_the_first_index():
    x = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert angle_cosines(x)[0, 1, 2].item() == pytest.approx(0, abs=1e-12)
    assert angle_cosines(x)[1, 0, 2].item() == pytest.approx(0.5**0.5, abs=1e-12)
    assert angle_cosines(x)[1, 1, 2].item() == 0


@LOSSES
def test_the_gradient_agrees_with_finite_differences(loss: Loss):
    teacher = noise(4, 2, seed=1)
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher), noise(4, 3, grad=True))


@LOSSES
def test_moving_turning_and_scaling_leave_no_loss(loss: Loss):
    x = noise(5, 4)
    turn, _ = torch.linalg.qr(noise(4, 4, seed=2))
    assert loss(5 * x @ turn + 3, x).item() == pytest.approx(0, abs=1e-12)


@LOSSES
def test_the_order_of_the_batch_does_not_matter(loss: Loss):
    student, teacher, order = noise(4, 3), noise(4, 3, seed=1), [2, 0, 3, 1]
    torch.testing.assert_close(loss(student[order], teacher[order]), loss(student, teacher))


@LOSSES
@pytest.mark.parametrize("equal", [[1, 2], [0, 1, 2, 3]])
def test_samples_that_coincide_give_an_ordinary_gradient(loss: Loss, equal: list[int]):
    start = noise(4, 3).float()
    start[equal] = 0
    student = start.requires_grad_()
    torch.autograd.backward(loss(student, noise(4, 3, seed=1).float()))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10  # F.normalize makes it 1e10


@LOSSES
def test_one_sample_has_no_relations(loss: Loss):
    assert loss(noise(1, 3), noise(1, 3, seed=1)).item() == 0


def test_each_loss_has_its_weight():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 12))(images())
    method = RKD(RKD.Config(distance=3.0, angle=7.0), Shapes.of(student), Shapes.of(teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    pair = student.embedding, teacher.embedding
    torch.testing.assert_close(losses["distance"], 3 * distance_loss(*pair))
    torch.testing.assert_close(losses["angle"], 7 * angle_loss(*pair))
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))


@pytest.mark.parametrize("field", ["distance", "angle"])
def test_a_negative_weight_is_refused(field: str):
    with pytest.raises(ValueError, match=field):
        RKD.Config(**{field: -1.0})
