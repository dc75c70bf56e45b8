"""SRD's distance, its norms and its weights."""

from math import log

import pytest
import torch
from torch import tensor

from methods.interface import Budget, Features, Shapes
from methods.kd import kl_divergence
from methods.srd import SRD, logsum_distance
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_distance_is_that_of_the_hand():
    # Differences (1, 2), (0, -1): to the fourth 1 + 16 + 0 + 1 = 18
    student, teacher = tensor([[1.0, 3.0], [2.0, 0.0]]), tensor([[0.0, 1.0], [2.0, 1.0]])
    assert logsum_distance(student, teacher, 4.0).item() == pytest.approx(log(18))
    assert logsum_distance(student, teacher, 1.0).item() == pytest.approx(log(4))


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: logsum_distance(student, teacher, 4.0), noise(4, 3, grad=True)
    )


def test_equal_vectors_have_a_finite_distance_and_no_gradient():
    student = torch.ones(4, 3, requires_grad=True)
    loss = logsum_distance(student, torch.ones(4, 3), 4.0)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(log(1e-5))
    assert student.grad is not None
    assert not student.grad.any()


def test_a_batch_twice_as_large_adds_log_2_and_the_order_does_not_matter():
    student, teacher = noise(4, 3), noise(4, 3, seed=1)
    loss = logsum_distance(student, teacher, 4.0)
    twice = logsum_distance(student.repeat(2, 1), teacher.repeat(2, 1), 4.0)
    torch.testing.assert_close(twice, loss + log(2))
    torch.testing.assert_close(logsum_distance(student.flip(0), teacher.flip(0), 4.0), loss)


def made(config: SRD.Config) -> tuple[dict[str, torch.Tensor], SRD, Features, Features]:
    torch.manual_seed(0)
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 12))(images())
    method = SRD(config, Shapes.of(student), Shapes.of(teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    assert phase.epochs == 8
    return phase.loss(student, teacher, batch()), method, student, teacher


def test_the_weights_the_temperature_and_alpha_are_those_of_the_config():
    losses, method, student, teacher = made(
        SRD.Config(alpha=3.0, weight=5.0, kd_weight=0.5, temperature=2.0)
    )
    ce = torch.nn.functional.cross_entropy(student.logits, batch().labels)
    torch.testing.assert_close(losses["ce"], ce)
    kl = kl_divergence(student.logits, teacher.logits, 2.0)
    torch.testing.assert_close(losses["kd"], 0.5 * 4 * kl)
    s = method.student_norm(method.projector(student.embedding))
    t = method.teacher_norm(teacher.embedding)
    torch.testing.assert_close(losses["srd"], 5 * logsum_distance(s, t, 3.0))


def test_both_sides_are_normalised_so_that_the_teachers_scale_does_not_count():
    torch.manual_seed(0)
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    method = SRD(SRD.Config(), Shapes.of(student), Shapes.of(teacher))
    (phase,) = method.phases(Budget(8, "inside"))
    larger = teacher._replace(embedding=1e3 * teacher.embedding + 7)
    loss = phase.loss(student, teacher._replace(embedding=100 * teacher.embedding), batch())["srd"]
    # Up to BN's eps of 1e-4 beside the variance.
    torch.testing.assert_close(phase.loss(student, larger, batch())["srd"], loss, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", 0.0), ("temperature", -1.0), ("weight", -1.0), ("kd_weight", -1.0)],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        SRD.Config(**{field: value})
