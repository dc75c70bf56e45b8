"""KD's loss against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import tensor

from methods.interface import Budget, Shapes
from methods.kd import KD, kl_divergence
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_divergence_is_that_of_the_hand():
    # T = 2: teacher (2 log 3, 0) / 2 -> p_t = (3/4, 1/4); student (0, 0) -> p_s = (1/2, 1/2).
    # KL = 3/4 log(3/4 : 1/2) + 1/4 log(1/4 : 1/2) = 3/4 log 3 - log 2 = 0.1308
    # The second sample agrees with its teacher and adds 0: the mean over the batch is half of it.
    teacher = tensor([[2 * log(3), 0.0], [1.0, 5.0]], dtype=torch.float64)
    student = tensor([[0.0, 0.0], [1.0, 5.0]], dtype=torch.float64)
    expected = (0.75 * log(3) - log(2)) / 2
    assert kl_divergence(student, teacher, 2.0).item() == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_the_closed_form():
    student, teacher = noise(6, 5, grad=True), noise(6, 5, seed=1)
    torch.autograd.backward(kl_divergence(student, teacher, 4.0))
    difference = (student / 4).softmax(1) - (teacher / 4).softmax(1)
    torch.testing.assert_close(student.grad, difference.detach() / (4 * 6))


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(3, 4, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: kl_divergence(student, teacher, 3.0), noise(3, 4, grad=True)
    )


def test_equal_logits_have_no_divergence():
    logits = noise(3, 4)
    assert kl_divergence(logits, logits + 7, 4.0).item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(5, 4), noise(5, 4, seed=1), [3, 1, 4, 0, 2]
    shuffled = kl_divergence(student[order], teacher[order], 4.0)
    torch.testing.assert_close(shuffled, kl_divergence(student, teacher, 4.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_a_finite_loss_and_gradient(dtype: torch.dtype):
    student = tensor([[1000.0, -1000.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = kl_divergence(student, tensor([[-1000.0, 1000.0, 0.0]], dtype=dtype), 1.0)
    torch.autograd.backward(loss)
    # p_t = (0, 1, 0), log p_s = (0, -2000, -1000)
    assert loss.item() == 2000
    assert student.grad is not None
    assert student.grad.tolist() == [[1, -1, 0]]


def test_the_weights_are_one_minus_alpha_and_alpha_t_squared():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    method = KD(KD.Config(temperature=3.0, alpha=0.75), shapes, shapes)
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    ce = torch.nn.functional.cross_entropy(student.logits, batch().labels)
    torch.testing.assert_close(losses["ce"], 0.25 * ce)
    kl = kl_divergence(student.logits, teacher.logits, 3.0)
    torch.testing.assert_close(losses["kd"], 0.75 * 9 * kl)


def test_the_crd_preset_is_a_tenth_of_the_labels_and_nine_tenths_of_kd_at_four():
    assert KD.presets["crd"] == KD.Config(temperature=4.0, alpha=0.9) == KD.Config()


@pytest.mark.parametrize(("field", "value"), [("temperature", 0.0), ("alpha", 1.1)])
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        KD.Config(**{field: value})
