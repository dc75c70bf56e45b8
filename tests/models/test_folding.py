"""Folding changes nothing that a network shows, and folds nothing that somebody else reads."""

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.models.folding import Folded, fold
from benchmark.models.network import Network
from methods.interface import Features

SIZE = 16
LARGER = {"MobileNetV1": 32, "torchvision/resnet18": 32}


def frozen(name: str) -> Network:
    """A network in eval mode whose batch norms have seen and learnt something."""
    network = models.build(name, 10, seed=0).requires_grad_(False).eval()
    random = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.eps = 0.1  # or it would hide among the roundings
            norm.running_mean.normal_(std=0.3, generator=random)
            norm.running_var.uniform_(0.5, 1.5, generator=random)
            norm.weight.uniform_(-0.5, 1.5, generator=random)
            norm.bias.normal_(std=0.3, generator=random)
    return network


def shown(features: Features) -> list[Tensor]:
    *maps, crd = features.stages, features.preacts, features.crd
    return [features.stem, *chain(*maps, crd), features.embedding, features.logits]


def statistics(network: Network) -> list[Tensor]:
    return [value for norm in network.norms for value in norm.state_dict().values()]


@pytest.mark.parametrize("name", models.network_names())
def test_a_folded_network_shows_the_same_and_has_the_same_norms(name):
    network = frozen(name)
    size = LARGER.get(name, SIZE)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    before, known, keys = shown(network(images)), statistics(network), network.state_dict().keys()
    assert fold(network, size)
    for one, other in zip(before, shown(network(images)), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-4 * float(one.abs().max()))
    assert all(map(torch.equal, known, statistics(network)))
    assert keys <= network.state_dict().keys()  # and biases


@pytest.mark.parametrize(
    ("name", "folded", "of"),
    [("resnet20", 21, 21), ("vgg8", 5, 5), ("wrn_16_2", 6, 13), ("torchvision/resnet18", 20, 20)],
)
def test_all_batch_norms_are_folded_but_those_that_read_sums_or_returned_features(name, folded, of):
    network = models.build(name, 10, seed=0).eval()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    paths = fold(network, LARGER.get(name, SIZE))
    assert (len(paths), norms) == (folded, of)
    assert all(isinstance(network.get_submodule(path), Folded) for path in paths)


def test_a_convolution_whose_output_is_a_feature_is_not_folded():
    network = models.build("torchvision/resnet18@layer1.0.conv1+layer4", 10, seed=0).eval()
    paths = fold(network, 32)
    assert "layer1.0.bn1" not in paths
    assert "layer1.0.bn2" in paths


class Odd(nn.Module):
    """A convolution and a batch norm behind it, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        kind = type("Standardised", (nn.Conv2d,), {}) if way == "subclass" else nn.Conv2d
        self.way, self.conv = way, kind(3, 3, 1)
        self.norm = nn.BatchNorm2d(3, affine=way != "not affine")

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.way == "written into":
            out.relu_()
        seen: Tensor = self.norm(out)
        if self.way == "read twice":
            seen = seen + out
        if self.way == "convolution twice":
            seen = self.conv(seen)
        return self.norm(seen) if self.way == "norm twice" else seen


@pytest.mark.parametrize(
    ("way", "folded"),
    [
        ("plain", ["norm"]),
        *((way, []) for way in ("subclass", "not affine", "written into", "read twice")),
        *((way, []) for way in ("convolution twice", "norm twice")),
    ],
)
def test_what_is_not_simply_a_convolution_and_its_norm_is_left_alone(way, folded):
    network = Odd(way).requires_grad_(False).eval()
    before = copy.deepcopy(network)
    images = torch.randn(2, 3, 4, 4)
    assert fold(network, 4) == folded
    assert torch.allclose(network(images), before(images), atol=1e-6)


def test_a_folded_network_refuses_to_train():
    network = models.build("resnet8", 10, seed=0)
    fold(network, SIZE)
    with pytest.raises(AssertionError, match="cannot be trained"):
        network.train()(torch.zeros(1, 3, SIZE, SIZE))
