"""Pairs of stages, the sum over stages, and the CRD benchmark's convolutional regressor."""

import pytest
import torch
from torch import nn

from methods.blocks.pairing import (
    MapShape,
    conv_regressor,
    conv_regressor_mismatch,
    halving_sum,
    stage_pairs,
)
from methods.interface import View
from tests.methods.networks import TinyNet, images, noise


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel", "stride"),
    [
        ((4, 8, 8), (6, 4, 4), nn.Conv2d, (3, 3), (2, 2)),
        ((4, 4, 4), (6, 8, 8), nn.ConvTranspose2d, (4, 4), (2, 2)),
        ((4, 8, 8), (4, 8, 8), nn.Conv2d, (1, 1), (1, 1)),
        ((4, 6, 7), (6, 4, 4), nn.Conv2d, (3, 4), (1, 1)),
    ],
)
def test_a_regression_is_chosen_by_size_and_gives_the_teachers_shape(
    student: MapShape,
    teacher: MapShape,
    kind: type[nn.Module],
    kernel: tuple[int, int],
    stride: tuple[int, int],
):
    net = conv_regressor(student, teacher).double()
    conv, norm = net
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    assert isinstance(conv, kind)
    assert (conv.kernel_size, conv.stride) == (kernel, stride)
    assert conv.bias is not None
    assert isinstance(norm, nn.BatchNorm2d)
    assert net(noise(2, *student)).shape == (2, *teacher)


def test_a_regression_is_drawn_as_torch_draws():
    torch.manual_seed(0)
    conv, _ = conv_regressor((4, 8, 8), (6, 4, 4))
    torch.manual_seed(0)
    usual = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    assert all(map(torch.equal, conv.parameters(), usual.parameters()))


@pytest.mark.parametrize("size", [(3, 3), (8, 3), (2, 2), (4, 3)])
def test_sizes_that_no_regression_can_match_are_an_error(size: tuple[int, int]):
    reason = conv_regressor_mismatch((4, *size), (6, 8, 8))
    assert reason is not None
    assert f"{size[0]}x{size[1]} to a teacher's of 8x8" in reason
    with pytest.raises(ValueError, match="no regression"):
        conv_regressor((4, *size), (6, 8, 8))


def test_the_last_stages_loss_counts_fully_and_each_one_before_it_half_as_much():
    losses = [torch.tensor(x) for x in (4.0, 20.0, 300.0)]
    assert halving_sum(losses).item() == 4 / 4 + 20 / 2 + 300


@pytest.mark.parametrize("view", ["stages", "crd"])
def test_stages_are_paired_in_order_through_the_view(view: View):
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 8, 8))(images())
    s, t = (x.stages if view == "stages" else x.crd[1:] for x in (student, teacher))
    for (a, b), own, other in zip(stage_pairs(student, teacher, view), s, t, strict=True):
        assert a is own
        assert b is other


def test_networks_of_different_numbers_of_stages_are_not_paired_in_part():
    student, teacher = TinyNet((4, 4, 6))(images()), TinyNet((4, 4, 6, 8))(images())
    with pytest.raises(ValueError, match="argument 2 is longer"):
        list(stage_pairs(student, teacher))
