"""The networks are the field's, and looking at their features changes nothing."""

import re

import pytest
import torch
from torch import nn
from torch.func import functional_call

from benchmark import models
from benchmark.config.errors import UserError
from methods.interface import Shapes

# The CRD benchmark's, with 100 classes.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "MobileNetV2": 812_836,
    "ShuffleV1": 949_258,
    "ShuffleV2": 1_355_528,
    "ResNet50": 23_705_252,
    "MobileNetV1": 3_309_476,
    # The overhaul paper's, and AB's wide ResNets.
    "wrn_16_4": 2_772_020,
    "wrn_22_4": 4_322_100,
    "wrn_28_2": 1_479_220,
    "wrn_28_4": 5_872_180,
    "pyramidnet110_84": 3_913_536,
    "pyramidnet200_240": 26_844_952,
}
SMALL = ["resnet8", "resnet8x4", "wrn_16_1", "wrn_16_2"]
BY_ANOTHER_NAME = ["MobileNetV2", "vgg8", "vgg11", "vgg13", "vgg16", "vgg19"]
"""Their checkpoints keep what ``head`` returns under the key ``classifier``."""


def test_every_network_is_in_the_list():
    assert sorted(models.network_names()) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name):
    assert models.count_parameters(models.build(name, 100, seed=0)) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet20", (16, 16, 32, 64)),
        ("resnet8x4", (32, 64, 128, 256)),
        ("wrn_40_1", (16, 16, 32, 64)),
        ("wrn_16_2", (16, 32, 64, 128)),
    ],
)
def test_shapes_are_the_published_ones(name, widths):
    stem, *stages = [(w, s, s) for w, s in zip(widths, (32, 32, 16, 8), strict=True)]
    assert models.feature_shapes(name, 100, 3, 32) == Shapes(
        stem, tuple(stages), widths[-1], 100, norms=3
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_stage_is_the_relu_of_its_preact_and_the_last_one_is_pooled(name):
    network = models.build(name, 10, seed=0)
    features = network(torch.randn(4, 3, 16, 16))
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact.relu(), stage)
        assert (preact < 0).any()
    pooled = features.stages[-1].mean(dim=(2, 3))
    torch.testing.assert_close(features.embedding, pooled)
    classifier: nn.Module = network.fc  # type: ignore[assignment]
    assert torch.equal(classifier(features.embedding), features.logits)
    assert features.stem.min() == 0


@pytest.mark.parametrize("name", SMALL)
def test_a_forward_pass_moves_every_batch_norm_once(name):
    network = models.build(name, 10, seed=0).train()
    network(torch.randn(4, 3, 16, 16))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(m.num_batches_tracked) for m in norms] == [1] * len(norms)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SMALL)
def test_the_loss_reaches_every_parameter(name):
    network = models.build(name, 10, seed=0)
    network(torch.randn(4, 3, 16, 16)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_state_dict_keys_are_those_of_the_published_checkpoints():
    resnet = models.build("resnet20", 100, seed=0).state_dict()
    wrn = models.build("wrn_16_2", 100, seed=0).state_dict()
    assert {"conv1.weight", "layer2.0.downsample.1.running_var", "layer3.2.bn2.bias"} <= set(resnet)
    assert "layer1.0.downsample.0.weight" not in resnet
    assert {"block1.layer.0.convShortcut.weight", "block3.layer.1.bn2.weight", "bn1.bias"} <= set(
        wrn
    )
    assert {"fc.weight", "fc.bias"} <= set(resnet) & set(wrn)


@pytest.mark.parametrize("name", PARAMETERS)
def test_only_wide_resnets_have_maps_of_their_own_for_the_benchmarks_view(name):
    with torch.device("meta"):
        features = models.NETWORKS[name](10).eval()(torch.zeros(1, 3, 32, 32))
    assert bool(features.crd) == name.startswith("wrn_")
    assert bool(features.crd_preacts) == (name == "ShuffleV2")
    assert Shapes.of(features.viewed("crd")) == Shapes.of(features)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_behind_the_stages_is_what_no_stage_depends_on(name):
    with torch.device("meta"):
        network = models.NETWORKS[name](10)
        features = network(torch.zeros(2, 3, 32, 32)).viewed("crd")
    sum(x.sum() for x in features.stages).backward()
    behind = {id(p) for module in network.behind_stages for p in module.parameters()}
    last_norm = {id(p) for p in network.norms[-1].parameters()}
    unreached = {id(p) for p in network.parameters() if p.grad is None}
    assert unreached <= behind <= unreached | last_norm
    assert {id(p) for p in network.head.parameters()} <= behind


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_head_reads_the_embedding_and_hides_no_submodule(name):
    with torch.device("meta"):
        network = models.NETWORKS[name](10).eval()
        assert network.head(network(torch.zeros(1, 3, 32, 32)).embedding).shape == (1, 10)
    assert all(getattr(network, child) is module for child, module in network.named_children())
    assert ("classifier" in dict(network.named_children())) == (name in BY_ANOTHER_NAME)


@pytest.mark.parametrize("name", BY_ANOTHER_NAME)
def test_a_network_whose_keys_say_classifier_can_be_called_with_other_weights(name):
    one, two = (models.build(name, 10, seed).eval() for seed in (0, 1))
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = two(images).logits
        assert not torch.equal(one(images).logits, expected)
        assert torch.equal(functional_call(one, two.state_dict(), (images,)).logits, expected)


def test_initial_weights_depend_on_name_and_seed_alone():
    torch.manual_seed(1)
    one, other_seed = (models.build("resnet8", 10, seed).state_dict() for seed in (0, 1))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = models.build("resnet8", 10, 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["conv1.weight"], other_seed["conv1.weight"])


def test_networks_of_other_libraries_are_known_by_their_names():
    shapes = models.feature_shapes("torchvision/resnet18", 10, 3, 64)
    assert [width for width, _, _ in shapes.stages] == [64, 128, 256, 512]
    assert (shapes.embedding, shapes.classes, shapes.norms) == (512, 10, 4)
    one, two = (models.build("torchvision/resnet18", 10, seed) for seed in (0, 0))
    assert torch.equal(one.head.weight, two.head.weight)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet9", "'resnet9': no such network. Did you mean 'resnet8'?"),
        ("torchvision/resnet19", "no such network in torchvision. Did you mean 'resnet18'"),
        ("elsewhere/resnet18", "expected torchvision/NAME or timm/NAME"),
    ],
)
def test_an_unknown_network_is_an_error_that_names_it(name: str, said: str):
    with pytest.raises(UserError, match=re.escape(said)):
        models.network_factory(name)


def test_an_image_that_is_too_small_is_the_users_to_mend():
    with pytest.raises(UserError, match="MobileNetV2 needs images of 16x16 pixels or more"):
        models.feature_shapes("MobileNetV2", 10, 3, 8)
