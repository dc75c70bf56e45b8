"""The CRD benchmark's ShuffleNets, and what they show.

Figures of "the benchmark's code" were computed with it, RepDistiller at b84f547.
"""

import hashlib
from typing import cast

import pytest
import torch
from torch import nn

from benchmark.models.network import Network
from benchmark.models.shufflenet import NETWORKS, crd_preact
from methods.interface import Features, Shapes
from tests.models.chirp import fill, images

both = pytest.mark.parametrize("name", ["ShuffleV1", "ShuffleV2"])


def built(name: str, classes: int = 10) -> Network:
    torch.manual_seed(0)
    return NETWORKS[name](classes)


def key_digest(network: Network) -> str:
    lines = [f"{key} {list(value.shape)}" for key, value in network.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@torch.no_grad()
def seen(network: Network, side: int) -> Features:
    generator = torch.Generator().manual_seed(0)
    return cast(Features, network(torch.randn(2, 3, side, side, generator=generator)))


@pytest.mark.parametrize(("name", "count"), [("ShuffleV1", 949_258), ("ShuffleV2", 1_355_528)])
def test_they_have_the_published_numbers_of_parameters(name, count):
    assert sum(parameter.numel() for parameter in built(name, 100).parameters()) == count


@pytest.mark.parametrize(
    ("name", "some", "digest"),
    [
        (
            "ShuffleV1",
            {
                "conv1.weight": (24, 3, 1, 1),
                "layer1.0.conv1.weight": (54, 24, 1, 1),
                "layer1.0.conv3.weight": (216, 18, 1, 1),
                "layer2.7.conv1.weight": (120, 160, 1, 1),
                "layer3.3.bn3.running_var": (960,),
                "linear.weight": (100, 960),
            },
            "b19c4d818f21b98f",
        ),
        (
            "ShuffleV2",
            {
                "conv1.weight": (24, 3, 1, 1),
                "layer1.0.conv1.weight": (24, 1, 3, 3),
                "layer2.7.conv2.weight": (116, 1, 3, 3),
                "layer3.0.bn5.bias": (232,),
                "conv2.weight": (1024, 464, 1, 1),
                "linear.weight": (100, 1024),
            },
            "8f44a58a43a938d7",
        ),
    ],
)
def test_their_state_dicts_have_the_keys_and_shapes_of_the_published_checkpoints(
    name, some, digest
):
    network = built(name, 100)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert {key: shapes.get(key) for key in some} == some
    assert key_digest(network) == digest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ShuffleV1", [5.663757659, -3.234655193, 3.456780138, -2.567845011]),
        ("ShuffleV2", [3.587132063, 2.425247193, 0.114632962, 1.315830562]),
    ],
)
def test_their_logits_are_those_of_the_benchmarks_code(name, expected):
    logits = fill(built(name, 100))(images()).logits
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(logits[1, :4], expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("side", [32, 64, 96, 224])
@pytest.mark.parametrize(
    ("name", "widths", "embedding"),
    [("ShuffleV1", (240, 480, 960), 960), ("ShuffleV2", (116, 232, 464), 1024)],
)
def test_they_are_right_at_every_size(name, widths, embedding, side):
    shapes = Shapes.of(seen(built(name).eval(), side))
    stages = [(c, side // s, side // s) for c, s in zip(widths, (2, 4, 8), strict=True)]
    assert shapes == Shapes((24, side, side), tuple(stages), embedding, 10)


@both
def test_an_image_too_small_for_their_strides_is_refused_by_name(name):
    assert seen(built(name).eval(), 8).stages[-1].shape[2:] == (1, 1)
    with pytest.raises(ValueError, match=rf"{name} needs images of 8x8 .* not 7x7"):
        seen(built(name).eval(), 7)


@both
def test_a_stage_is_the_relu_of_its_preact(name):
    features = seen(built(name), 32)
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact.relu(), stage)
        # In every channel: none is shown with its negative side already cut off.
        assert (preact.amin(dim=(0, 2, 3)) < 0).all()
    assert features.stem.min() == 0


@both
def test_the_classifier_reads_the_embedding(name):
    network = built(name)
    features = seen(network, 32)
    assert torch.equal(network.head(features.embedding), features.logits)


def test_each_norm_of_v1_is_the_one_behind_its_preact():
    network = built("ShuffleV1")
    before = seen(network, 16)
    for i, norm in enumerate(network.norms):
        nn.init.ones_(norm.bias)
        after = seen(network, 16)
        torch.testing.assert_close(after.preacts[i], before.preacts[i] + 1)
        nn.init.zeros_(norm.bias)


def test_each_norm_of_v2_has_the_scale_and_shift_of_every_channel_of_its_preact():
    network = built("ShuffleV2").double().train()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 2)
    with torch.no_grad():
        features = network(images())
    for preact, norm in zip(features.preacts, network.norms, strict=True):
        # A batch norm in train mode gives every channel its shift as mean, its scale as deviation.
        std, mean = torch.std_mean(preact, dim=(0, 2, 3), correction=0)
        torch.testing.assert_close(mean, norm.bias)
        torch.testing.assert_close(std, norm.weight, rtol=1e-2, atol=0)


def test_the_norms_of_v2_are_copies_which_do_not_train():
    network = built("ShuffleV2")
    own = {parameter.data_ptr() for parameter in network.parameters()}
    for norm in network.norms:
        assert not norm.weight.requires_grad
        assert norm.weight.data_ptr() not in own


@both
def test_a_forward_pass_moves_every_batch_norm_once(name):
    network = built(name).train()
    seen(network, 32)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(cast(torch.Tensor, m.num_batches_tracked)) for m in norms} == {1}
    assert all(norm.running_mean is not None and norm.running_mean.any() for norm in norms)


@both
def test_the_loss_reaches_every_parameter(name):
    network = fill(built(name)).eval()  # in train mode, a bias before another batch norm is lost
    network(images()).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_benchmarks_view_has_the_preacts_of_its_code():
    features = cast(Features, fill(built("ShuffleV2")).eval()(images()))
    expected = [  # RepDistiller, b84f547: channels 0, 1, the last but one and the last
        [3.228234342, 4.046056569, 1.210996352, 1.507789701],
        [0.0, 0.0, 1.055642089, 4.074714882],
        [9.317894751, 3.264115669, 6.446439683, 1.508944415],
    ]
    for preact, numbers in zip(features.viewed("crd").preacts, expected, strict=True):
        assert preact[1, [0, 1, -2, -1], 1, 1].tolist() == pytest.approx(numbers, rel=1e-8)


def test_the_benchmarks_preact_undoes_the_shuffle_and_activates_the_half_that_passed():
    shuffled = torch.tensor([-1.0, -2.0, 3.0, -4.0]).view(1, 4, 1, 1)
    assert crd_preact(shuffled).flatten().tolist() == [0.0, 3.0, -2.0, -4.0]
