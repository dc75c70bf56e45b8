"""LS's z-score against numbers worked out by hand."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.dkd import others_divergence, target_divergence
from methods.interface import Budget, Features, Shapes
from methods.kd import kl_divergence
from methods.ls import LS, standardise
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_z_score_is_that_of_the_hand():
    # Mean 4; squares 9 + 1 + 1 + 9 = 20 over K - 1 = 3; the 1e-7 is far below.
    scores = standardise(tensor([[1.0, 3.0, 5.0, 7.0]], dtype=torch.float64))
    expected = tensor([[-3.0, -1, 1, 3]], dtype=torch.float64) / (20 / 3) ** 0.5
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=0)


def test_the_loss_is_that_of_the_hand():
    # Two classes always score (a, -a) or (-a, a), a = 1/sqrt(2). At a temperature of sqrt(2)/log 3
    # the logits are +-log(3)/2: the teacher has (3/4, 1/4), the student (1/4, 3/4).
    # KL = 3/4 log 3 - 1/4 log 3 = log(3)/2; times 9 T^2 = 18/log(3)^2.
    method = _method(temperature=2**0.5 / log(3))
    losses = _losses(method, tensor([[2.0, 7.0]]), tensor([[100.0, -50.0]]))
    assert losses["ls"].item() == pytest.approx(9 / log(3), rel=1e-5)


def _method(**fields: Any) -> LS:
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    return LS(LS.Config(**fields), shapes, shapes)


def _losses(method: LS, student: Tensor, teacher: Tensor, progress: float = 0.5) -> Any:
    student_features, teacher_features = (Features(x, (), (), x, x) for x in (student, teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    return phase.loss(student_features, teacher_features, batch(len(student), progress))


def test_the_gradient_agrees_with_finite_differences():
    weights = noise(3, 4, seed=1)
    assert torch.autograd.gradcheck(
        lambda logits: (weights * standardise(logits)).sum(), noise(3, 4, grad=True)
    )


@pytest.mark.parametrize("preset", ["kd", "dkd"])
def test_neither_shift_nor_scale_of_the_logits_counts(preset: str):
    method = _method(divergence=preset)
    student, teacher = noise(4, 5), noise(4, 5, seed=1)
    before = _losses(method, student, teacher)
    after = _losses(method, student, 30 * teacher + 7)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-5)


def test_the_two_divergences_are_those_of_kd_and_dkd_on_scores():
    student, teacher, labels = noise(4, 5), noise(4, 5, seed=1), batch().labels
    s, t = standardise(student) / 3, standardise(teacher) / 3
    ce = F.cross_entropy(student, labels)
    kd = _losses(_method(temperature=3.0), student, teacher)
    torch.testing.assert_close(kd["ce"], 0.1 * ce)
    torch.testing.assert_close(kd["ls"], 9 * 9 * kl_divergence(s, t, 1.0))
    fields = LS.presets["dkd"].__dict__ | {"temperature": 3.0, "warmup_share": 0.5}
    dkd = _losses(_method(**fields), student, teacher, progress=0.25)
    torch.testing.assert_close(dkd["ce"], ce)
    assert dkd["tckd"] == pytest.approx(0.5 * 9 * 9 * target_divergence(s, t, labels))
    assert dkd["nckd"] == pytest.approx(0.5 * 8 * 9 * 9 * others_divergence(s, t, labels))


@pytest.mark.parametrize("divergence", ["kd", "dkd"])
@pytest.mark.parametrize("rows", [[[1000.0, -1000.0, 0.0]], [[0.0, 0.0, 0.0]]])
def test_huge_and_equal_logits_give_finite_losses_and_gradients(
    divergence: str, rows: list[list[float]]
):
    student = tensor(rows, requires_grad=True)
    losses = _losses(_method(divergence=divergence), student, tensor([[-1000.0, 1000.0, 0.0]]))
    (gradient,) = torch.autograd.grad(sum(losses.values()), student)
    assert all(loss.isfinite() for loss in losses.values())
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("ce_weight", -1.0),
        ("kd_weight", -1.0),
        ("alpha", -1.0),
        ("beta", -1.0),
        ("warmup_share", -0.1),
    ],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        LS.Config(**{field: value})
