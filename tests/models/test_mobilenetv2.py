"""The CRD benchmark's half-width MobileNetV2, and what it shows.

Figures of "the benchmark's code" were computed with it, RepDistiller at b84f547.
"""

import hashlib
from typing import cast

import pytest
import torch
from torch import nn

from benchmark.models.mobilenetv2 import NETWORKS
from benchmark.models.network import Network
from methods.interface import Features, Shapes
from tests.models.chirp import fill, images


def built(classes: int = 10) -> Network:
    torch.manual_seed(0)
    return NETWORKS["MobileNetV2"](classes)


def key_digest(network: Network) -> str:
    lines = [f"{key} {list(value.shape)}" for key, value in network.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@torch.no_grad()
def seen(network: Network, side: int) -> Features:
    generator = torch.Generator().manual_seed(0)
    return cast(Features, network(torch.randn(2, 3, side, side, generator=generator)))


def test_it_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in built(100).parameters()) == 812_836


def test_its_state_dict_has_the_keys_and_shapes_of_the_published_checkpoints():
    shapes = {key: tuple(value.shape) for key, value in built(100).state_dict().items()}
    assert shapes["conv1.0.weight"] == (16, 3, 3, 3)
    assert shapes["blocks.0.0.conv.0.weight"] == (16, 16, 1, 1)
    assert shapes["blocks.3.3.conv.3.weight"] == (192, 1, 3, 3)
    assert shapes["blocks.6.0.conv.7.running_mean"] == (160,)
    assert shapes["conv2.1.bias"] == (1280,)
    assert shapes["classifier.0.weight"] == (100, 1280)
    assert key_digest(built(100)) == "cf2fc083e7ae4429"


def test_its_logits_are_those_of_the_benchmarks_code():
    logits = fill(built(100))(images()).logits
    expected = torch.tensor([3.662736581, 0.965306198, 1.922268581, 0.443594049])
    torch.testing.assert_close(logits[1, :4], expected.double(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("side", [32, 64, 96, 224])
def test_it_is_right_at_every_size(side):
    shapes = Shapes.of(seen(built().eval(), side))
    stages = [(c, side // s, side // s) for c, s in ((12, 2), (16, 4), (48, 8), (160, 16))]
    assert shapes == Shapes((16, side // 2, side // 2), tuple(stages), 1280, 10)


def test_an_image_too_small_for_its_strides_is_refused_by_name():
    assert seen(built().eval(), 16).stages[-1].shape == (2, 160, 1, 1)
    with pytest.raises(ValueError, match=r"MobileNetV2 needs images of 16x16 .* not 15x15"):
        seen(built().eval(), 15)


def test_a_stage_is_linear_and_its_own_preact():
    features = seen(built(), 32)
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact, stage)
        assert preact.min() < 0 < preact.max()
    assert features.stem.min() == 0


def test_the_classifier_reads_the_embedding():
    network = built()
    features = seen(network, 32)
    assert torch.equal(network.head(features.embedding), features.logits)


def test_each_norm_is_the_one_behind_its_preact():
    network = built()
    before = seen(network, 16)
    for i, norm in enumerate(network.norms):
        nn.init.ones_(norm.bias)
        after = seen(network, 16)
        torch.testing.assert_close(after.preacts[i], before.preacts[i] + 1)
        nn.init.zeros_(norm.bias)


def test_a_forward_pass_moves_every_batch_norm_once():
    network = built().train()
    seen(network, 32)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(cast(torch.Tensor, m.num_batches_tracked)) for m in norms} == {1}
    assert all(norm.running_mean is not None and norm.running_mean.any() for norm in norms)


def test_the_loss_reaches_every_parameter():
    network = fill(
        built()
    ).eval()  # in train mode, a bias before another batch norm counts for nothing
    network(images()).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_its_initial_weights_are_drawn_as_in_the_benchmarks_code():
    network = built(100)
    depthwise = network.get_parameter("blocks.5.2.conv.3.weight")
    assert depthwise.std().item() == pytest.approx((2 / (480 * 9)) ** 0.5, rel=0.05)
    assert network.head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not network.head.bias.any()
