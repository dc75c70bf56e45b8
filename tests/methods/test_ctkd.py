"""CTKD's curriculum and its temperature, which climbs where the student descends."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.ctkd import CTKD, curriculum, reverse_gradient
from methods.interface import Budget, Features, Shapes
from methods.kd import kl_divergence
from tests.methods.networks import TinyNet, batch, images, noise


def _method(**fields: Any) -> CTKD:
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    return CTKD(CTKD.Config(**fields), shapes, shapes)


def _losses(method: CTKD, student: Tensor, teacher: Tensor, progress: float = 0.5) -> Any:
    student_features, teacher_features = (Features(x, (), (), x, x) for x in (student, teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    return phase.loss(student_features, teacher_features, batch(len(student), progress))


def test_the_curriculum_is_half_a_cosine_and_then_over():
    # (1 - cos(pi x)) / 2 at x = 0, 1/3, 1/2, 1 and beyond
    steps = [curriculum(tensor(p), 0.3).item() for p in (0.0, 0.1, 0.15, 0.3, 0.9)]
    assert steps == pytest.approx([0, 0.25, 0.5, 1, 1], abs=1e-6)


def test_a_reversed_gradient_leaves_the_value_and_turns_the_gradient():
    x = tensor(0.1, requires_grad=True)
    turned = reverse_gradient(x, tensor(0.3))
    assert turned.item() == x.item()
    (gradient,) = torch.autograd.grad(5 * turned, x)
    assert gradient.item() == pytest.approx(-1.5)


def test_the_loss_is_that_of_the_hand():
    # The sigmoid of 0 is 1/2: the temperature is 1 + 2/2 = 2. As in test_kd: KL at T = 2 of the
    # teacher's (3/4, 1/4) and (1/2, 1/2) is 3/4 log 3 - log 2; times T^2 and 1/2.
    method = _method(ce_weight=0.0, kd_weight=0.5, span=2.0)
    torch.nn.init.zeros_(method.predicted)
    losses = _losses(method, tensor([[0.0, 0.0]]), tensor([[2 * log(3), 0.0]]))
    assert losses["ctkd"].item() == pytest.approx(2 * (0.75 * log(3) - log(2)), rel=1e-5)
    assert losses["ce"].item() == 0


def test_the_temperature_begins_inside_its_range_and_weighs_as_in_kd():
    student, teacher = noise(4, 5).float(), noise(4, 5, seed=1).float()
    losses = _losses(_method(), student, teacher)
    temperature = 1 + 20 * tensor(1.0).sigmoid()
    assert temperature == pytest.approx(15.62, abs=0.01)
    kl = kl_divergence(student, teacher, temperature.item())
    torch.testing.assert_close(losses["ctkd"], 0.9 * temperature**2 * kl, rtol=1e-4, atol=0)
    torch.testing.assert_close(losses["ce"], 0.1 * F.cross_entropy(student, batch().labels))


def test_the_temperature_climbs_the_loss_that_the_student_descends():
    method, student, teacher = _method(), noise(4, 5).float(), noise(4, 5, seed=1).float()
    student.requires_grad_()
    loss = _losses(method, student, teacher)["ctkd"]
    down, up = torch.autograd.grad(loss, [student, method.predicted])
    with torch.no_grad():
        assert _losses(method, student - 1e-2 * down, teacher)["ctkd"] < loss
        method.predicted.sub_(1e-1 * up.sign())
        assert _losses(method, student, teacher)["ctkd"] > loss


def test_at_the_start_the_temperature_rests():
    method = _method()
    loss = _losses(method, noise(4, 5), noise(4, 5, seed=1), progress=0.0)["ctkd"]
    (gradient,) = torch.autograd.grad(loss, method.predicted)
    assert gradient.item() == 0


def test_the_temperatures_gradient_is_minus_that_of_finite_differences():
    student, teacher, method = noise(4, 5), noise(4, 5, seed=1), _method().double()
    loss = _losses(method, student, teacher)["ctkd"]
    (gradient,) = torch.autograd.grad(loss, method.predicted)
    with torch.no_grad():
        method.predicted.add_(1e-5)
        difference = (_losses(method, student, teacher)["ctkd"] - loss) / 1e-5
    assert gradient.item() == pytest.approx(-difference.item(), rel=1e-3)


def test_huge_logits_give_finite_losses_and_gradients():
    method, student = _method(), tensor([[1000.0, -1000.0, 0.0]], requires_grad=True)
    losses = _losses(method, student, tensor([[-1000.0, 1000.0, 0.0]]))
    gradients = torch.autograd.grad(sum(losses.values()), [student, method.predicted])
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ce_weight", -1.0),
        ("kd_weight", -1.0),
        ("lowest", 0.0),
        ("span", 0.0),
        ("curriculum_share", 0.0),
    ],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        CTKD.Config(**{field: value})
