"""DKD's two divergences against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.blocks.schedules import warm_up
from methods.dkd import (
    DKD,
    others_divergence,
    others_log_softmax,
    target_divergence,
    target_log_softmax,
)
from methods.interface import Budget, Shapes
from methods.kd import kl_divergence
from tests.methods.networks import TinyNet, batch, images, noise

# Teacher (1/2, 1/3, 1/6), student (1/4, 1/4, 1/2), the target is class 0.
TEACHER = tensor([[log(3), log(2), log(1)]], dtype=torch.float64)
STUDENT = tensor([[log(1), log(1), log(2)]], dtype=torch.float64)
LABEL = tensor([0])


def test_the_targets_divergence_is_that_of_the_hand():
    # (1/2, 1/2) against (1/4, 3/4): 1/2 log 2 + 1/2 log(2/3)
    expected = (log(2) + log(2 / 3)) / 2
    assert target_divergence(STUDENT, TEACHER, LABEL).item() == pytest.approx(expected, abs=1e-12)


def test_the_others_divergence_is_that_of_the_hand():
    # Without the target: (2/3, 1/3) against (1/3, 2/3): 2/3 log 2 - 1/3 log 2
    expected = log(2) / 3
    assert others_divergence(STUDENT, TEACHER, LABEL).item() == pytest.approx(expected, abs=1e-12)


def test_the_two_parts_put_together_are_the_divergence_of_kd():
    # Sec. 3.1: KD = TCKD + (1 - p_t) NCKD, for each sample.
    student, teacher, labels = noise(6, 5), noise(6, 5, seed=1), torch.arange(6) % 5
    for i in range(6):
        s, t, label = student[i : i + 1], teacher[i : i + 1], labels[i : i + 1]
        rest = 1 - t.softmax(1)[0, label]
        parts = target_divergence(s, t, label) + rest * others_divergence(s, t, label)
        torch.testing.assert_close(parts.squeeze(), kl_divergence(s, t, 1.0))


def test_the_gradients_agree_with_finite_differences():
    teacher, labels = noise(3, 4, seed=1), tensor([0, 3, 1])
    for divergence in (target_divergence, others_divergence):
        assert torch.autograd.gradcheck(
            lambda s, d=divergence: d(s, teacher, labels), noise(3, 4, grad=True)
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_exact_finite_losses_and_gradients(dtype: torch.dtype):
    student = tensor([[1000.0, -1000.0, 0.0]], dtype=dtype, requires_grad=True)
    teacher = tensor([[-1000.0, 1000.0, 0.0]], dtype=dtype)
    label = tensor([0])
    # As two classes the teacher has (0, 1), the student log (0, -1000).
    target = target_divergence(student, teacher, label)
    assert target.item() == 1000
    assert _gradient(target, student) == [[1, 0, -1]]
    # Of the others the teacher has (1, 0), the student log (-1000, 0).
    others = others_divergence(student, teacher, label)
    assert others.item() == 1000
    assert _gradient(others, student) == [[0, -1, 1]]


def _gradient(loss: Tensor, of: Tensor) -> list[list[float]]:
    (gradient,) = torch.autograd.grad(loss, of)
    rows: list[list[float]] = gradient.tolist()
    return rows


def test_two_classes_leave_nothing_to_the_others():
    student, teacher = noise(4, 2, grad=True), noise(4, 2, seed=1)
    loss = others_divergence(student, teacher, tensor([0, 1, 1, 0]))
    assert loss.item() == 0
    assert _gradient(loss, student) == [[0, 0]] * 4


def test_both_views_of_the_logits_are_log_probabilities():
    logits, labels = 300 * noise(6, 5), torch.arange(6) % 5
    torch.testing.assert_close(target_log_softmax(logits, labels).exp().sum(1), logits.new_ones(6))
    others = others_log_softmax(logits, labels)
    assert (others.gather(1, labels[:, None]) == 0).all()
    torch.testing.assert_close(others.exp().sum(1), logits.new_full((6,), 2))


def test_the_weights_are_alpha_and_beta_t_squared_grown_over_the_warm_up():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    method = DKD(DKD.Config(2.0, 3.0, temperature=5.0, warmup_share=0.5), shapes, shapes)
    (phase,) = method.phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch(progress=0.25))
    s, t, labels = student.logits / 5, teacher.logits / 5, batch().labels
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, labels))
    torch.testing.assert_close(losses["tckd"], 0.5 * 2 * 25 * target_divergence(s, t, labels))
    torch.testing.assert_close(losses["nckd"], 0.5 * 3 * 25 * others_divergence(s, t, labels))


def test_the_warm_up_is_linear_and_then_over():
    grown = [warm_up(tensor(p), 0.25).item() for p in (0.0, 0.125, 0.25, 0.5)]
    assert grown == [0, 0.5, 1, 1]
    assert warm_up(tensor(0.0), 0).item() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", -1.0), ("beta", -1.0), ("temperature", 0.0), ("warmup_share", 1.5)],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        DKD.Config(**{field: value})
