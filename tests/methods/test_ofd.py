"""OFD's margins, distance and connectors against numbers worked out by hand."""

from math import pi, sqrt

import pytest
import torch
from torch import nn, tensor

from methods.blocks.pairing import conv1x1_norm
from methods.interface import Budget, Features, Shapes
from methods.ofd import OFD, MarginReLU, negative_means, partial_l2
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_margin_is_that_of_the_hand():
    # N(0, 1) and N(0, 2^2), the scale of either sign: the negative half's mean is -sqrt(2 / pi)
    # scales. N(4, 1): P(x < 0) = 0.00003 is below a thousandth, so -3 scales. N(-100, 1): all of
    # it is negative, so its own mean.
    margins = negative_means(tensor([0.0, 0, 4, -100]), tensor([1.0, -2, -1, 1]))
    expected = [-sqrt(2 / pi), -2 * sqrt(2 / pi), -3, -100]
    assert margins.tolist() == pytest.approx(expected)


def test_the_margin_is_the_mean_of_negative_draws():
    draws = noise(200_000)
    mean, std = tensor([0.7, -0.4], dtype=torch.float64), tensor([0.8, 1.5], dtype=torch.float64)
    found = [(m + s * draws) for m, s in zip(mean, std, strict=True)]
    expected = torch.stack([x[x < 0].mean() for x in found])
    torch.testing.assert_close(negative_means(mean, std), expected, rtol=0.01, atol=0)


def test_a_dead_scale_has_a_finite_margin():
    margins = negative_means(tensor([-2.0, 0.0, 2.0]), torch.zeros(3))
    assert margins.tolist() == pytest.approx([-2, 0, 0])


def test_the_distance_is_that_of_the_hand():
    # target 2: student 0 -> 4, student 3 -> 1      target -1: student 1 -> 4, student -3 -> not
    # target 0: student -1 -> not, student 0.5 -> 0.25              Sum 9.25, two samples: 4.625
    target = tensor([[2.0, -1.0, 0.0], [2.0, -1.0, 0.0]]).view(2, 3, 1, 1)
    student = tensor([[0.0, 1.0, -1.0], [3.0, -3.0, 0.5]]).view(2, 3, 1, 1)
    assert partial_l2(student, target).item() == 4.625


def test_the_gradient_agrees_with_finite_differences():
    target = noise(2, 3, 2, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: partial_l2(student, target), noise(2, 3, 2, 2, grad=True)
    )


def test_negative_responses_of_the_teacher_do_not_reach_below_the_margin():
    norm = nn.BatchNorm2d(2)
    nn.init.zeros_(norm.bias)
    activate = MarginReLU(norm)
    floor = -sqrt(2 / pi)
    preacts = tensor([-5.0, 3.0, -0.1, -0.9]).view(2, 2, 1, 1)
    assert activate(preacts).flatten().tolist() == pytest.approx([floor, 3, -0.1, floor])
    assert not list(activate.parameters())


def test_a_connector_is_a_pointwise_convolution_with_bn_started_by_he_also_for_equal_widths():
    torch.manual_seed(0)
    conv, norm = conv1x1_norm(512, 512)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert conv.weight.shape == (512, 512, 1, 1)
    assert conv.bias is None
    assert conv.weight.std().item() == pytest.approx(sqrt(2 / 512), rel=0.02)


def test_margins_are_those_of_the_teachers_norms_and_do_not_follow_them():
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16))
    for norm in teacher.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    shapes = Shapes.of(student(images())), Shapes.of(teacher(images()))
    method = OFD(OFD.Config(), *shapes, teacher_norms=teacher.norms)
    margins = [value.flatten() for name, value in method.named_buffers() if "margin" in name]
    expected = [negative_means(norm.bias.detach(), norm.weight.detach()) for norm in teacher.norms]
    torch.testing.assert_close(margins, expected)
    nn.init.zeros_(teacher.norms[0].bias)
    torch.testing.assert_close(margins, expected)


def constant(value: float) -> OFD:
    """Three stages of 2 units, N(0, 1) in the teacher; connectors put out ``value``, their bias."""
    shapes = Shapes((2, 1, 1), ((2, 1, 1),) * 3, 2, 2)
    norms = tuple(nn.BatchNorm2d(2) for _ in range(3))
    method = OFD(OFD.Config(), shapes, shapes, teacher_norms=norms)
    for connect in method.connectors:
        nn.init.zeros_(connect[0].weight)  # type: ignore[index]
        nn.init.constant_(connect[1].bias, value)  # type: ignore[index]
    return method


def test_a_teacher_below_its_margin_asks_for_the_margin_and_no_less():
    # Student -0.5, teacher -5, cut at -sqrt(2 / pi): 2 units a stage. (1/4 + 1/2 + 1) * 2 / 1000
    (phase,) = constant(-0.5).phases(Budget(8, "inside"))
    preacts = torch.full((4, 2, 1, 1), -5.0)
    student_features = Features(preacts, (preacts,) * 3, (preacts,) * 3, preacts, noise(4, 5))
    expected = 0.0035 * (sqrt(2 / pi) - 0.5) ** 2
    assert phase.loss(student_features, student_features, batch())["ofd"].item() == pytest.approx(
        expected
    )


def test_the_last_stage_is_the_heaviest_and_pre_activations_are_read():
    # Connectors put out 3, the teacher's units are at 1, over any margin: each of 2 units a stage
    # loses 4. (1/4 + 1/2 + 1) * 8 / 1000 = 0.014
    method = constant(3.0)
    (phase,) = method.phases(Budget(240, "extra"))
    assert (phase.epochs, phase.lr) == (240, "scheduled")
    preacts, unread = torch.ones(4, 2, 1, 1), torch.full((4, 2, 1, 1), torch.nan)
    logits = noise(4, 5)
    student_features = Features(unread, (unread,) * 3, (preacts,) * 3, unread, logits)
    losses = phase.loss(student_features, student_features, batch())
    assert losses["ofd"].item() == pytest.approx(0.014)
    torch.testing.assert_close(losses["ce"], nn.functional.cross_entropy(logits, batch().labels))
    for stage, weight in enumerate((0.25, 0.5, 1.0)):
        done = [torch.full_like(preacts, 3.0)] * 3
        done[stage] = preacts
        losses = phase.loss(
            student_features, student_features._replace(preacts=tuple(done)), batch()
        )
        assert losses["ofd"].item() == pytest.approx(0.008 * weight)


def test_a_weight_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="weight"):
        OFD.Config(weight=0.0)


def test_a_teacher_without_batch_norms_has_no_margins():
    shapes = Shapes((1, 1, 1), ((1, 1, 1),) * 2, 1, 1)
    assert OFD.mismatch(OFD.Config(), shapes, shapes) is None
    assert OFD.mismatch(OFD.Config(), shapes, shapes._replace(norms=2)) is None
    reason = OFD.mismatch(OFD.Config(), shapes, shapes._replace(norms=0))
    assert reason is not None
    assert "batch norm to take a margin from" in reason
