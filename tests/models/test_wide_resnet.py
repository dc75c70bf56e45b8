"""The wide ResNets that only the AB and overhaul papers train."""

from functools import cache

import pytest
import torch

from benchmark.models import Network, count_parameters, wide_resnet
from methods.interface import Shapes
from tests.models import chirp

PARAMETERS = {
    "wrn_16_4": 2_772_020,
    "wrn_22_4": 4_322_100,  # by the public code; no paper prints it for 100 classes
    "wrn_28_2": 1_479_220,
    "wrn_28_4": 5_872_180,
}


@cache
def blank(name: str) -> Network:
    """On no device: it has shapes, and no values."""
    with torch.device("meta"):
        return wide_resnet.NETWORKS[name](100).eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name):
    assert count_parameters(blank(name)) == PARAMETERS[name]


@pytest.mark.parametrize("size", [32, 64, 96, 224])
@pytest.mark.parametrize(("name", "factor"), [("wrn_28_2", 2), ("wrn_22_4", 4)])
def test_every_stage_but_the_first_halves_the_image(name, factor, size):
    features = blank(name)(torch.zeros(2, 3, size, size, device="meta"))
    stages = tuple((16 * factor * 2**k, size // 2**k, size // 2**k) for k in range(3))
    assert Shapes.of(features) == Shapes((16, size, size), stages, 64 * factor, 100)
    assert features.logits.shape == (2, 100)


def test_the_benchmarks_view_shows_what_enters_the_batch_norm_that_makes_a_preact():
    network = wide_resnet.NETWORKS["wrn_16_2"](10)
    chirp.fill(network).eval()
    features = network(chirp.images())
    stem, *raws = features.crd
    assert torch.equal(stem, network.conv1(chirp.images()))
    for norm, raw, preact in zip(network.norms, raws, features.preacts, strict=True):
        assert raw.min() < 0
        assert torch.equal(norm(raw), preact)


def test_the_benchmarks_view_is_that_of_its_code():
    features = chirp.fill(wide_resnet.NETWORKS["wrn_16_2"](100))(chirp.images()).viewed("crd")
    sums = [-6.031128616, 6.486471368, -3.092478168, 15.433094269]  # RepDistiller, b84f547
    shown = [x[1, :, 1, 2].sum().item() for x in (features.stem, *features.stages)]
    assert shown == pytest.approx(sums, rel=1e-7)


def test_logits_are_those_of_the_published_code():
    features = chirp.fill(wide_resnet.NETWORKS["wrn_16_4"](100))(chirp.images())
    logits = [1.283744308, 3.258222872, 1.433336333, 3.281472607]
    assert features.logits[:, :2].flatten().tolist() == pytest.approx(logits, rel=1e-6)
