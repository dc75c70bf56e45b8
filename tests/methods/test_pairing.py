"""The regression convolution that FitNets and AB have in the CRD benchmark."""

import pytest
import torch
from torch import nn

from methods.blocks.pairing import MapShape, beyond_regression, regression
from tests.methods.networks import noise


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
    net = regression(student, teacher).double()
    conv, norm = net
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    assert isinstance(conv, kind)
    assert (conv.kernel_size, conv.stride) == (kernel, stride)
    assert conv.bias is not None
    assert isinstance(norm, nn.BatchNorm2d)
    assert net(noise(2, *student)).shape == (2, *teacher)


def test_a_regression_is_drawn_as_torch_draws():
    torch.manual_seed(0)
    conv, _ = regression((4, 8, 8), (6, 4, 4))
    torch.manual_seed(0)
    usual = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    assert all(map(torch.equal, conv.parameters(), usual.parameters()))


@pytest.mark.parametrize("size", [(3, 3), (8, 3), (2, 2), (4, 3)])
def test_what_no_regression_can_meet_is_told(size: tuple[int, int]):
    reason = beyond_regression((4, *size), (6, 8, 8))
    assert reason is not None
    assert f"{size[0]}x{size[1]} to a teacher's of 8x8" in reason
    with pytest.raises(ValueError, match="no regression"):
        regression((4, *size), (6, 8, 8))
