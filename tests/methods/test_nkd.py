"""NKD's two cross-entropies against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

from methods.interface import Budget, Shapes
from methods.nkd import NKD, others_cross_entropy, target_cross_entropy
from tests.methods.networks import TinyNet, batch, images, noise

# Teacher (1/2, 1/3, 1/6), student (1/4, 1/4, 1/2), the target is class 0.
TEACHER = tensor([[log(3), log(2), log(1)]], dtype=torch.float64)
STUDENT = tensor([[log(1), log(1), log(2)]], dtype=torch.float64)
LABEL = tensor([0])


def test_the_targets_cross_entropy_is_that_of_the_hand():
    # -1/2 log 1/4 = log 2; a second sample, certain to both, adds 0 to the mean.
    sure = tensor([[800.0, 0.0, 0.0]], dtype=torch.float64)
    student, teacher = (torch.cat([logits, sure]) for logits in (STUDENT, TEACHER))
    loss = target_cross_entropy(student, teacher, tensor([0, 0]))
    assert loss.item() == pytest.approx(log(2) / 2, abs=1e-12)


def test_the_others_cross_entropy_is_that_of_the_hand():
    # Without the target (2/3, 1/3) and (1/3, 2/3): -2/3 log 1/3 - 1/3 log 2/3
    expected = log(3) - log(2) / 3
    assert others_cross_entropy(STUDENT, TEACHER, LABEL).item() == pytest.approx(expected)


def test_the_gradients_agree_with_finite_differences():
    teacher, labels = noise(3, 4, seed=1), tensor([0, 3, 1])
    for loss in (target_cross_entropy, others_cross_entropy):
        assert torch.autograd.gradcheck(
            lambda s, f=loss: f(s, teacher, labels), noise(3, 4, grad=True)
        )


def test_the_target_does_not_count_among_the_others():
    student, teacher, labels = noise(3, 4), noise(3, 4, seed=1), tensor([0, 3, 1])
    moved = student + 5 * F.one_hot(labels, 4)
    torch.testing.assert_close(
        others_cross_entropy(moved, teacher, labels), others_cross_entropy(student, teacher, labels)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_exact_finite_losses_and_gradients(dtype: torch.dtype):
    student = tensor([[-1000.0, 1000.0, 0.0]], dtype=dtype, requires_grad=True)
    teacher = tensor([[1000.0, -1000.0, 0.0]], dtype=dtype)
    # The teacher is sure of the target, to which the student gives log S = -2000; of the others the
    # teacher has (0, 1), the student log (0, -1000).
    target = target_cross_entropy(student, teacher, LABEL)
    others = others_cross_entropy(student, teacher, LABEL)
    assert [target.item(), others.item()] == [2000, 1000]
    (gradient,) = torch.autograd.grad(target + others, student)
    assert gradient.tolist() == [[-1, 2, -1]]


def test_the_weights_are_gamma_and_t_squared_of_the_others_alone():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    method = NKD(NKD.Config(gamma=0.5, temperature=3.0), shapes, shapes)
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    s, t, labels = student.logits, teacher.logits, batch().labels
    torch.testing.assert_close(losses["ce"], F.cross_entropy(s, labels))
    torch.testing.assert_close(losses["nkd_target"], target_cross_entropy(s, t, labels))
    others = others_cross_entropy(s / 3, t / 3, labels)
    torch.testing.assert_close(losses["nkd_others"], 0.5 * 9 * others)


@pytest.mark.parametrize(("field", "value"), [("gamma", -1.0), ("temperature", 0.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        NKD.Config(**{field: value})
