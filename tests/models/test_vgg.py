"""The VGGs are the CRD benchmark's, and right at sizes at which it has none."""

from functools import cache

import pytest
import torch
from torch import nn

from benchmark.models import Network, count_parameters, vgg
from methods.interface import Shapes
from tests.models import chirp

PARAMETERS = {
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
}


@cache
def blank(name: str) -> Network:
    """On no device: it has shapes, and no values."""
    with torch.device("meta"):
        return vgg.NETWORKS[name](100).eval()


@pytest.mark.parametrize("name", vgg.NETWORKS)
def test_parameter_counts_are_the_published_ones(name):
    assert count_parameters(blank(name)) == PARAMETERS[name]


def test_state_dict_keys_are_those_of_the_published_checkpoints():
    small, large = (blank(name).state_dict() for name in ("vgg8", "vgg19"))
    assert {"block0.0.bias", "block4.1.running_var", "classifier.weight"} <= set(small)
    assert {"block1.3.weight", "block2.10.running_mean", "block4.9.bias"} <= set(large) - set(small)
    assert len(small) == 5 * (2 + 5) + 2
    assert len(large) == 16 * (2 + 5) + 2


@pytest.mark.parametrize(
    ("name", "logits"),
    [
        ("vgg8", [2.807452636, 2.063945004, 2.8991663, 1.88242176]),
        ("vgg13", [2.455626108, 2.03949032, 2.319730623, 1.99639308]),
    ],
)
def test_logits_are_those_of_the_published_code(name, logits):
    features = chirp.fill(vgg.NETWORKS[name](100))(chirp.images())
    assert features.logits[:, :2].flatten().tolist() == pytest.approx(logits, rel=1e-6)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (32, (16, 8, 4, 4)),
        (64, (32, 16, 8, 4)),
        (96, (48, 24, 12, 6)),
        (224, (112, 56, 28, 14)),
    ],
)
@pytest.mark.parametrize("name", vgg.NETWORKS)
def test_the_last_block_is_pooled_into_from_64_pixels_on(name, size, sizes):
    features = blank(name)(torch.zeros(2, 3, size, size, device="meta"))
    stages = tuple((w, s, s) for w, s in zip((128, 256, 512, 512), sizes, strict=True))
    assert Shapes.of(features) == Shapes((64, size, size), stages, 512, 100)
    assert features.logits.shape == (2, 100)


def test_images_too_small_to_be_pooled_are_refused():
    network = vgg.NETWORKS["vgg8"](10).eval()
    assert network(torch.zeros(1, 3, 8, 8)).stages[-1].shape == (1, 512, 1, 1)
    with pytest.raises(ValueError, match="8x8 pixels or more, not 9x7"):
        network(torch.zeros(1, 3, 9, 7))


def test_a_stage_is_the_relu_of_its_norms_output_and_the_last_one_is_pooled():
    network = vgg.NETWORKS["vgg11"](10)
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


def test_a_forward_pass_moves_every_batch_norm_once():
    network = vgg.NETWORKS["vgg11"](10).train()
    network(torch.randn(2, 3, 16, 16))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(m.num_batches_tracked) for m in norms] == [1] * 8  # type: ignore[arg-type]


def test_the_loss_reaches_every_parameter():
    # In eval mode: batch statistics would cancel the convolutions' biases.
    network = vgg.NETWORKS["vgg11"](10).eval()
    network(torch.randn(2, 3, 16, 16)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
