"""The PyramidNets are the overhaul paper's, and so is where their features are taken."""

from functools import cache
from typing import cast

import pytest
import torch
from torch import nn

from benchmark.models import Network, count_parameters, pyramidnet
from benchmark.models.pyramidnet import BasicPyramidUnit, BottleneckPyramidUnit, PyramidNet
from methods.interface import Shapes
from tests.models import chirp

PARAMETERS = {"pyramidnet110_84": 3_913_536, "pyramidnet200_240": 26_844_952}
both_units = pytest.mark.parametrize("unit", [BasicPyramidUnit, BottleneckPyramidUnit])


@cache
def blank(name: str) -> Network:
    """On no device: it has shapes, and no values."""
    with torch.device("meta"):
        return pyramidnet.NETWORKS[name](100).eval()


def small(unit: type[BasicPyramidUnit] | type[BottleneckPyramidUnit]) -> PyramidNet:
    """Two units a stage."""
    return PyramidNet(10, depth=6 * unit.convolutions + 2, alpha=20, unit=unit)


@pytest.mark.parametrize("name", pyramidnet.NETWORKS)
def test_parameter_counts_are_the_published_ones(name):
    assert count_parameters(blank(name)) == PARAMETERS[name]


def test_state_dict_keys_are_those_of_the_published_checkpoints():
    basic, deep = (blank(name).state_dict() for name in PARAMETERS)
    assert {"conv1.weight", "bn1.bias", "bn_final.running_var", "fc.bias"} <= set(basic) & set(deep)
    assert {"layer1.0.bn1.weight", "layer3.17.bn3.running_var"} <= set(basic)
    assert {"layer2.21.conv3.weight", "layer3.21.bn4.num_batches_tracked"} <= set(deep)
    assert len(basic) == 1 + 5 + 54 * (2 + 3 * 5) + 5 + 2
    assert len(deep) == 1 + 5 + 66 * (3 + 4 * 5) + 5 + 2


@pytest.mark.parametrize(
    ("unit", "logits"),
    [
        (BasicPyramidUnit, [3.023229409, 0.838643923, 3.244255261, 0.8570716]),
        (BottleneckPyramidUnit, [3.404029085, 0.847618437, 3.471504574, 1.012993184]),
    ],
)
def test_logits_are_those_of_the_published_code(unit, logits):
    features = chirp.fill(small(unit))(chirp.images())
    assert features.logits[:, :2].flatten().tolist() == pytest.approx(logits, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "stem", "widths"),
    [("pyramidnet110_84", 16, (44, 72, 100)), ("pyramidnet200_240", 20, (100, 180, 1024))],
)
@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_features_have_the_overhaul_papers_widths_at_every_size(name, stem, widths, size):
    features = blank(name)(torch.zeros(2, 3, size, size, device="meta"))
    stages = tuple((width, size // 2**k, size // 2**k) for k, width in enumerate(widths))
    assert Shapes.of(features) == Shapes((stem, size, size), stages, widths[-1], 100)
    assert features.logits.shape == (2, 100)


@both_units
@pytest.mark.parametrize("size", [1, 7])
def test_no_image_is_too_small_or_odd(unit, size):
    logits = small(unit).eval()(torch.zeros(2, 3, size, size)).logits
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()


@both_units
def test_a_stage_is_the_relu_of_its_norms_output_and_the_last_one_is_pooled(unit):
    network = small(unit)
    outputs = []
    for norm in network.norms:
        norm.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    features = network(torch.randn(2, 3, 16, 16))
    for output, preact, stage in zip(outputs, features.preacts, features.stages, strict=True):
        assert torch.equal(output, preact)
        assert torch.equal(preact.relu(), stage)
        assert (preact < 0).any()
    torch.testing.assert_close(features.embedding, features.stages[-1].mean(dim=(2, 3)))
    assert torch.equal(network.head(features.embedding), features.logits)
    assert features.stem.min() == 0


def test_a_bottleneck_stage_is_what_the_next_one_reads():
    network = small(BottleneckPyramidUnit)
    read = []
    for layer in (network.layer1, network.layer2, network.layer3):
        convolution = cast(BottleneckPyramidUnit, layer[0]).conv2
        convolution.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    features = network(torch.randn(2, 3, 16, 16))
    for entered, shown in zip(read, (features.stem, *features.stages[:-1]), strict=True):
        assert torch.equal(entered, shown)


@both_units
def test_a_forward_pass_moves_every_batch_norm_once(unit):
    network = small(unit).train()
    network(torch.randn(2, 3, 16, 16))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(m.num_batches_tracked) for m in norms] == [1] * len(norms)  # type: ignore[arg-type]


@both_units
def test_the_loss_reaches_every_parameter(unit):
    # In eval mode: batch statistics would cancel a bias before a 1x1 convolution.
    network = small(unit).eval()
    network(torch.randn(2, 3, 16, 16)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
