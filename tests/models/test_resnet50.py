"""The CIFAR ResNet50 is the CRD benchmark's."""

from functools import cache

import pytest
import torch
from torch import nn

from benchmark.models import Network, count_parameters, resnet50
from benchmark.models.resnet50 import BottleneckResNet
from methods.interface import Shapes
from tests.models import chirp


@cache
def blank(name: str) -> Network:
    """On no device: it has shapes, and no values."""
    with torch.device("meta"):
        return resnet50.NETWORKS[name](100).eval()


def small() -> BottleneckResNet:
    """One and two blocks a stage."""
    return BottleneckResNet(10, depths=(2, 1, 1, 2))


def test_its_parameter_count_is_the_published_one():
    assert count_parameters(blank("ResNet50")) == 23_705_252


def test_state_dict_keys_are_those_of_the_published_checkpoints():
    keys = set(blank("ResNet50").state_dict())
    assert {"conv1.weight", "bn1.num_batches_tracked", "linear.bias"} <= keys
    assert {"layer1.0.shortcut.0.weight", "layer3.5.bn3.running_mean"} <= keys
    assert not any("layer1.1.shortcut" in key for key in keys)
    assert len(keys) == 6 * (1 + 16 * 3 + 4) + 2


def test_logits_are_those_of_the_published_code():
    features = chirp.fill(small())(chirp.images())
    logits = [6.913372738, 0.423691628, 6.995773655, 1.797800559]
    assert features.logits[:, :2].flatten().tolist() == pytest.approx(logits, rel=1e-6)


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_every_stage_but_the_first_halves_the_image(size):
    features = blank("ResNet50")(torch.zeros(2, 3, size, size, device="meta"))
    stages = tuple((256 * 2**k, size // 2**k, size // 2**k) for k in range(4))
    assert Shapes.of(features) == Shapes((64, size, size), stages, 2048, 100)
    assert features.logits.shape == (2, 100)


def test_no_image_is_too_small():
    assert small().eval()(torch.zeros(1, 3, 1, 1)).stages[-1].shape == (1, 2048, 1, 1)


def test_a_stage_is_the_relu_of_its_preact_and_the_last_one_is_pooled():
    network = small()
    features = network(torch.randn(2, 3, 16, 16))
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact.relu(), stage)
        assert (preact < 0).any()
    torch.testing.assert_close(features.embedding, features.stages[-1].mean(dim=(2, 3)))
    assert torch.equal(network.head(features.embedding), features.logits)
    assert features.stem.min() == 0


def test_a_preact_is_its_norms_output_and_a_shortcut():
    network = small().eval()
    for norm in network.norms:
        nn.init.zeros_(norm.weight)
    before = network(torch.zeros(1, 3, 8, 8)).preacts
    for norm in network.norms:
        nn.init.constant_(norm.bias, 1.0)
    after = network(torch.zeros(1, 3, 8, 8)).preacts
    torch.testing.assert_close(after[0], before[0] + 1)
    assert [norm.num_features for norm in network.norms] == [x.shape[1] for x in after]


def test_a_forward_pass_moves_every_batch_norm_once():
    network = small().train()
    network(torch.randn(2, 3, 16, 16))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(m.num_batches_tracked) for m in norms] == [1] * len(norms)  # type: ignore[arg-type]


def test_the_loss_reaches_every_parameter():
    network = small().eval()
    network(torch.randn(2, 3, 16, 16)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
