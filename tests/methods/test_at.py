"""AT's loss against numbers worked out by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.at import AT, attention_loss, attention_map, half_norm_loss
from methods.blocks.pairing import pool_to_smaller
from methods.interface import Budget, Shapes
from tests.methods.networks import TinyNet, batch, images, noise

Loss = Callable[[Tensor, Tensor], Tensor]


def test_the_loss_is_that_of_the_hand():
    # Student: channels (1, 2) and (1, 0) at two positions: squares sum to (2, 4) ~ (1, 2) / sqrt 5.
    # Teacher: one channel (2, 0): (4, 0) ~ (1, 0).
    # Mean square: ((1/sqrt 5 - 1)^2 + (2/sqrt 5)^2) / 2 = (2 - 2/sqrt 5) / 2 = 1 - 1/sqrt 5
    student = tensor([[[[1.0, 2.0]], [[1.0, 0.0]]]], dtype=torch.float64)
    teacher = tensor([[[[2.0, 0.0]]]], dtype=torch.float64)
    assert attention_loss(student, teacher).item() == pytest.approx(1 - 5**-0.5, abs=1e-12)


def test_the_papers_form_is_half_the_norm_of_the_hand():
    # As above: student (1, 2) / sqrt 5, teacher (1, 0); their squared distance is 2 - 2/sqrt 5.
    # The second sample agrees with its teacher: the mean over the batch is half of the first's.
    student = tensor([[[[1.0, 2.0]], [[1.0, 0.0]]], [[[3.0, 0.0]], [[0.0, 0.0]]]]).double()
    teacher = tensor([[[[2.0, 0.0]]], [[[5.0, 0.0]]]]).double()
    expected = (2 - 2 / 5**0.5) ** 0.5 / 2 / 2
    assert half_norm_loss(student, teacher).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("maps", [[[3.0, 4.0]], [[0.0, 0.0]]])
def test_the_papers_form_has_no_gradient_where_there_is_no_distance(maps: list[list[float]]):
    student = tensor([[maps]], requires_grad=True)
    loss = half_norm_loss(student, student.detach())
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.tolist() == [[[[0, 0]]]]


def test_the_larger_map_is_averaged_before_it_is_squared():
    # (3, -1) averages to 1, (2, 0) to 1: equal maps. Squared first they would be 5 and 2.
    student = tensor([[[[3.0, -1.0, 2.0, 0.0]]]])
    assert attention_loss(student, tensor([[[[4.0, 4.0]]]])).item() == pytest.approx(0, abs=1e-12)


def test_pooling_has_the_windows_of_the_adaptive_pooling():
    for to in (2, 3, 4):
        a, b = noise(2, 3, 6, 6), noise(2, 3, to, to)
        pooled, untouched = pool_to_smaller(a, b)
        assert untouched is b
        torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(a, to))
        torch.testing.assert_close(pool_to_smaller(b, a)[1], pooled)
        pooled, _ = pool_to_smaller(a, b, how="max")
        torch.testing.assert_close(pooled, F.adaptive_max_pool2d(a, to))


@pytest.mark.parametrize("loss", [attention_loss, half_norm_loss])
def test_the_gradient_agrees_with_finite_differences(loss: Loss):
    teacher = noise(2, 4, 2, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: loss(student, teacher), noise(2, 3, 4, 4, grad=True)
    )


def test_equal_maps_have_no_loss_whatever_their_scale_and_sign():
    features = noise(2, 3, 4, 4)
    assert attention_loss(features, -5 * features).item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(3, 4, 2, 2), noise(3, 4, 2, 2, seed=1), [2, 0, 1]
    shuffled = attention_loss(student[order], teacher[order])
    torch.testing.assert_close(shuffled, attention_loss(student, teacher))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_map_of_zeros_gives_a_finite_loss_and_gradient(dtype: torch.dtype):
    student = torch.zeros(1, 2, 1, 2, dtype=dtype, requires_grad=True)
    loss = attention_loss(student, tensor([[[[3.0, 0.0]]]], dtype=dtype))
    torch.autograd.backward(loss)
    assert loss.item() == 0.5  # ((0 - 1)^2 + 0) / 2
    assert student.grad is not None
    assert student.grad.tolist() == [[[[0, 0]], [[0, 0]]]]


def test_attention_maps_have_length_one():
    torch.testing.assert_close(
        attention_map(1e6 * noise(3, 4, 5, 5)).norm(dim=1), torch.ones(3, dtype=torch.float64)
    )


@pytest.mark.parametrize(("form", "loss"), [("code", attention_loss), ("paper", half_norm_loss)])
def test_beta_weighs_the_sum_over_all_stages(form: Any, loss: Loss):
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    (phase,) = AT(AT.Config(beta=10.0, form=form), shapes, shapes).phases(Budget(8, "inside"))
    losses = phase.loss(student, teacher, batch())
    one, two, three = map(loss, student.stages, teacher.stages)
    torch.testing.assert_close(losses["at"], 10 * (one + two + three))
    ce = F.cross_entropy(student.logits, batch().labels)
    torch.testing.assert_close(losses["ce"], ce)


def test_the_crd_preset_is_the_authors_code_with_a_thousand_on_the_benchmarks_maps():
    assert AT.presets["crd"] == AT.Config(beta=1000.0, form="code", view="crd")
    assert AT.Config() == AT.Config(beta=1000.0, form="code", view="stages")


@pytest.mark.parametrize(("field", "value"), [("beta", -1.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        AT.Config(**{field: value})
