"""FitNets' losses and regressor against numbers worked out by hand."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, nn, tensor

from methods.fitnets import FitNets, hint_loss, regressor, soft_cross_entropy
from methods.interface import Budget, Features, Shapes
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_hint_loss_is_that_of_the_hand():
    # Two samples, two channels, one row of two positions. Differences: sample 1 is
    # (1, 0) and (2, 0): 1/2 (1 + 4) = 2.5 at the first position, 0 at the second; sample 2 is 0.
    # Mean over 2 samples x 2 positions: 2.5 / 4
    hint = torch.zeros(2, 2, 1, 2)
    predicted = tensor([[[[1.0, 0.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    assert hint_loss(predicted, hint).item() == 0.625


def test_the_soft_cross_entropy_is_that_of_the_hand():
    # tau = 2: p_t = (3/4, 1/4), p_s = (1/4, 3/4): H = 3/4 log 4 + 1/4 log 4/3, without tau^2.
    # The second sample has p_t = p_s = (1/2, 1/2): H = log 2. Mean of the two.
    teacher = tensor([[2 * log(3), 0.0], [1.0, 1.0]], dtype=torch.float64)
    student = tensor([[0.0, 2 * log(3)], [4.0, 4.0]], dtype=torch.float64)
    expected = (0.75 * log(4) + 0.25 * log(4 / 3) + log(2)) / 2
    assert soft_cross_entropy(student, teacher, 2.0).item() == pytest.approx(expected, abs=1e-12)


def test_the_gradients_agree_with_finite_differences():
    hint, teacher = noise(2, 3, 2, 2, seed=1), noise(3, 4, seed=1)
    assert torch.autograd.gradcheck(
        lambda predicted: hint_loss(predicted, hint), noise(2, 3, 2, 2, grad=True)
    )
    assert torch.autograd.gradcheck(
        lambda student: soft_cross_entropy(student, teacher, 3.0), noise(3, 4, grad=True)
    )


def test_equal_maps_have_no_hint_loss():
    assert hint_loss(noise(2, 3, 2, 2), noise(2, 3, 2, 2)).item() == 0


def test_the_order_of_the_batch_does_not_matter():
    a, b, order = noise(3, 4, 2, 2), noise(3, 4, 2, 2, seed=1), [2, 0, 1]
    torch.testing.assert_close(hint_loss(a[order], b[order]), hint_loss(a, b))
    a, b = noise(3, 4), noise(3, 4, seed=1)
    shuffled = soft_cross_entropy(a[order], b[order], 3.0)
    torch.testing.assert_close(shuffled, soft_cross_entropy(a, b, 3.0))


def test_huge_logits_give_a_finite_loss_and_gradient():
    student = tensor([[1000.0, -1000.0, 0.0]], requires_grad=True)
    loss = soft_cross_entropy(student, tensor([[-1000.0, 1000.0, 0.0]]), 1.0)
    torch.autograd.backward(loss)
    assert loss.item() == 2000
    assert student.grad is not None
    assert student.grad.tolist() == [[1, -1, 0]]


def test_a_map_of_zeros_gives_a_finite_loss_and_gradient():
    predicted = torch.zeros(1, 2, 1, 1, requires_grad=True)
    loss = hint_loss(predicted, torch.ones(1, 2, 1, 1))
    torch.autograd.backward(loss)
    assert loss.item() == 1
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [[[[-1]], [[-1]]]]


@pytest.mark.parametrize(
    ("guided", "hint", "kernel"),
    [
        ((4, 8, 8), (6, 8, 8), (1, 1)),
        ((4, 8, 8), (6, 4, 4), (5, 5)),  # 8 - 5 + 1 = 4
        ((4, 4, 4), (6, 8, 8), (1, 1)),  # enlarged to 8 first
        ((4, 8, 3), (4, 6, 5), (3, 1)),
    ],
)
def test_a_regressor_gives_the_hints_shape_and_sign(
    guided: tuple[int, int, int], hint: tuple[int, int, int], kernel: tuple[int, int]
):
    net = regressor(guided, hint).double()
    out: Tensor = net(noise(2, *guided))
    assert out.shape == (2, *hint)
    assert out.min() == 0
    assert out.max() > 0
    (conv,) = (module for module in net.modules() if isinstance(module, nn.Conv2d))
    assert conv.kernel_size == kernel
    assert conv.padding == (0, 0)


def test_there_is_no_regressor_where_the_shapes_agree():
    assert isinstance(regressor((4, 8, 8), (4, 8, 8)), nn.Identity)


def scene(config: FitNets.Config | None = None) -> tuple[FitNets, TinyNet, TinyNet]:
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16)).eval()
    shapes = Shapes.of(student(images())), Shapes.of(teacher(images()))
    return FitNets(config or FitNets.Config(), *shapes), student, teacher


def test_the_hint_phase_reaches_up_to_the_guided_stage_and_no_further():
    method, student, teacher = scene()
    hint, _ = method.phases(Budget(240, "inside"))
    assert (hint.name, hint.epochs, hint.lr) == ("hint", 30, "constant")
    losses = hint.loss(student(images()), teacher(images()), batch())
    assert list(losses) == ["hint"]
    torch.autograd.backward(losses["hint"])
    reached = {name for name, p in student.named_parameters() if p.grad is not None}
    assert {name.rsplit(".", 2)[0] for name in reached if name.startswith("stages")} == {
        "stages.0",
        "stages.1",
    }
    assert not any(name.startswith("classifier") for name in reached)
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_the_regressor_rests_while_the_whole_network_is_distilled():
    method, student, teacher = scene()
    _, distill = method.phases(Budget(8, "inside"))
    torch.autograd.backward(
        tuple(distill.loss(student(images()), teacher(images()), batch()).values())
    )
    assert all(parameter.grad is None for parameter in method.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 4.0), (0.5, 2.5), (1.0, 1.0)])
def test_lambda_falls_linearly_from_four_to_one(progress: float, weight: float):
    method, student, teacher = scene()
    _, distill = method.phases(Budget(8, "inside"))
    student_features, teacher_features = student(images()), teacher(images())
    losses = distill.loss(student_features, teacher_features, batch(progress=progress))
    expected = weight * soft_cross_entropy(student_features.logits, teacher_features.logits, 3.0)
    torch.testing.assert_close(losses["kd"], expected)
    ce = nn.functional.cross_entropy(student_features.logits, batch().labels)
    torch.testing.assert_close(losses["ce"], ce)


def test_the_middle_stages_are_paired_unless_others_are_named():
    three, four = TinyNet((4, 4, 6, 8)), TinyNet((4, 4, 6, 8, 8))
    shapes = Shapes.of(three(images())), Shapes.of(four(images()))
    method = FitNets(FitNets.Config(), *shapes)
    assert (method.guided, method.hint) == (1, 2)
    method, student, teacher = scene(FitNets.Config(guided=0, hint=2))
    hint, _ = method.phases(Budget(8, "inside"))
    student_features, teacher_features = student(images()), teacher(images())
    expected = hint_loss(method.regressor(student_features.stages[0]), teacher_features.stages[2])
    torch.testing.assert_close(
        hint.loss(student_features, teacher_features, batch())["hint"], expected
    )


def test_a_stage_that_is_not_there_is_a_mismatch():
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    assert FitNets.mismatch(FitNets.Config(guided=2, hint=2), shapes, shapes) is None
    reason = FitNets.mismatch(FitNets.Config(hint=3), shapes, shapes)
    assert reason == "no stage 3 in the teacher, which has 3"


def test_the_crd_preset_is_one_phase_of_ce_and_a_hundred_times_the_mean_square():
    method, student, teacher = scene(FitNets.presets["crd"])
    (phase,) = method.phases(Budget(240, "extra"))
    assert (phase.epochs, phase.lr, phase.reads_teacher) == (240, "scheduled", True)
    student_features, teacher_features = student(images()), teacher(images())
    method.eval()
    losses = phase.loss(student_features, teacher_features, batch())
    predicted = method.regressor(student_features.crd[2])
    hint = 100 * (predicted - teacher_features.crd[2]).square().mean()
    ce = nn.functional.cross_entropy(student_features.logits, batch().labels)
    torch.testing.assert_close(losses, {"ce": ce, "hint": hint})


def test_the_mean_square_is_that_of_the_hand():
    # As in the first test: squares 1 and 4 among 2 x 2 x 2 elements, 5 / 8; times 2
    shape = (2, 1, 2)
    config = FitNets.Config(distance="mean", hint_weight=2.0)
    shapes = Shapes(shape, (shape,), 2, 5)
    hint, _ = FitNets(config, shapes, shapes).phases(Budget(8, "inside"))
    predicted = tensor([[[[1.0, 0.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    student_features, zero = (
        Features(m, (m,), (m,), m, m) for m in (predicted, torch.zeros(2, *shape))
    )
    assert hint.loss(student_features, zero, batch(2))["hint"].item() == 1.25


def test_the_crd_preset_pairs_the_second_stages_whatever_their_number():
    shapes = [Shapes.of(TinyNet(widths)(images())) for widths in ((4, 4, 6), (4, 4, 6, 8, 10))]
    for student, teacher in (shapes, shapes[::-1]):
        method = FitNets(FitNets.presets["crd"], student, teacher)
        assert (method.guided, method.hint) == (1, 1)


def test_the_crd_presets_regressor_is_there_for_equal_shapes_and_ends_in_relu():
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    method = FitNets(FitNets.presets["crd"], shapes, shapes)
    conv, norm, last = method.regressor.children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(last, nn.ReLU)
    assert conv.bias is not None


def test_sizes_that_the_regression_cannot_match_are_an_error():
    shapes = [Shapes(m, (m, m), m[0], 5) for m in ((4, 3, 3), (4, 8, 8))]
    reason = FitNets.mismatch(FitNets.presets["crd"], *shapes)
    assert reason is not None
    assert "from a student's map of 3x3" in reason
    assert FitNets.mismatch(FitNets.Config(), *shapes) is None


def test_without_soft_targets_the_second_phase_reads_no_teacher():
    method, student, teacher = scene(FitNets.Config(lambda_start=0.0, lambda_end=0.0))
    _, distill = method.phases(Budget(8, "inside"))
    assert not distill.reads_teacher
    assert list(distill.loss(student(images()), teacher(images()), batch())) == ["ce"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"order": "joint", "init_share": 0.5}, "init_share has no effect"),
        ({"lambda_start": 0.0, "lambda_end": 0.0, "temperature": 4.0}, "temperature has no effect"),
    ],
)
def test_a_value_that_nothing_reads_is_refused(values: dict[str, Any], field: str):
    with pytest.raises(ValueError, match=field):
        FitNets.Config(**values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hint", -1),
        ("temperature", 0.0),
        ("lambda_end", -1.0),
        ("init_share", 0.0),
        ("hint_weight", 0.0),
    ],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        FitNets.Config(**{field: value})
