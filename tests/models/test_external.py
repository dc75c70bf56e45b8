"""Other people's networks: seen without being changed, and where their stages are."""

import copy
import io
import pickle
import weakref
from importlib.util import find_spec
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.config.errors import UserError
from benchmark.models.external import wrapper
from benchmark.models.external.wrapper import (
    ExternalName,
    ExternalNetwork,
    external_factory,
    library_network,
)
from methods.interface import Features, Shapes

FEW = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf"]


def built(name: str, classes: int = 10) -> ExternalNetwork:
    torch.manual_seed(0)
    return cast(ExternalNetwork, external_factory(name)(classes))


def images(side: int = 64) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def seen(network: nn.Module, side: int = 64) -> Features:
    return cast(Features, network(images(side)))


def plain(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = library_network(ExternalName.read(name), 10)
    for module in network.modules():
        if isinstance(module, wrapper.DROPOUTS):
            module.p = 0.0
    return network


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


class Small(nn.Module):
    """A network of our own in somebody else's way: one module for all activations, functions
    that write into what a module has returned, maps with the channels last.
    """

    def __init__(self, *, functional: bool = False, channels_last: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(4, 4, 3, stride=2, padding=1) for _ in range(2))
        self.same = nn.ModuleList(nn.Conv2d(4, 4, 1, bias=False) for _ in range(2))
        self.norm = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.act = nn.ReLU(inplace=True)
        self.turn = nn.Identity()
        self.fc = nn.Linear(4, 10)
        self.functional, self.channels_last = functional, channels_last

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        for down, same, norm in zip(self.down, self.same, self.norm, strict=True):
            x = norm(same(down(x)))
            x = F.relu(x, inplace=True) if self.functional else self.act(x)
            if self.channels_last:
                x = self.turn(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
        return cast(Tensor, self.fc(x.mean((2, 3))))


# ---------------------------------------------------------------- nothing is changed


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", FEW)
def test_seeing_features_changes_neither_logits_nor_buffers(name: str, training: bool):
    theirs, ours = (f(f"torchvision/{name}").train(training) for f in (plain, built))
    with torch.no_grad():
        assert torch.equal(seen(ours).logits, theirs(images()))
        assert equal(ours.state_dict(), theirs.state_dict())


def test_seeing_features_changes_no_gradient():
    theirs, ours = plain("torchvision/mobilenet_v3_small"), built("torchvision/mobilenet_v3_small")
    for logits in (theirs(images()), seen(ours).logits):
        torch.autograd.backward(logits.square().sum())
    gradients = [{k: p.grad for k, p in n.named_parameters()} for n in (theirs, ours)]
    assert equal(*cast("list[dict[str, Tensor]]", gradients))


def test_the_mode_reaches_the_network_itself():
    network = built("torchvision/googlenet")
    assert isinstance(seen(network.train(), 96).logits, Tensor)
    assert not network.eval()._inner[0].training
    assert network.train()._inner[0].training
    assert not [key for key in network.state_dict() if "aux" in key]


def test_training_draws_nothing_from_the_global_generator():
    network = built("torchvision/efficientnet_b0").train()  # has dropout and stochastic depth
    before = torch.get_rng_state()
    seen(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_published_weights_load_by_their_own_keys():
    network = built("torchvision/mobilenet_v2")
    torch.manual_seed(1)
    state = library_network(ExternalName.read("torchvision/mobilenet_v2"), 10).state_dict()
    assert {"features.0.0.weight", "classifier.1.bias"} <= state.keys()
    network.load_state_dict(state)
    assert equal(network._inner[0].state_dict(), state)


def test_a_module_put_in_the_place_of_another_is_used():
    network = ExternalNetwork(Small(), "small")
    network.fc = nn.Linear(4, 3)
    assert seen(network).logits.shape == (2, 3)
    assert network.head is network.fc


@pytest.mark.parametrize("how", ["copied", "pickled"])
def test_a_copy_sees_its_own_features(how: str):
    first = ExternalNetwork(Small(), "small")
    expected = seen(first.eval())
    stream = io.BytesIO(pickle.dumps(first))
    second = copy.deepcopy(first) if how == "copied" else pickle.load(stream)
    nn.init.constant_(second.norms[-1].bias, 7.0)
    again, other = seen(first), seen(second)
    assert torch.equal(again.stages[-1], expected.stages[-1])
    assert torch.equal(other.stages[0], expected.stages[0])
    assert not torch.equal(other.stages[-1], expected.stages[-1])
    assert not torch.equal(other.logits, expected.logits)
    assert list(second.state_dict()) == list(Small().state_dict())


def test_after_a_pass_nothing_is_held():
    network = ExternalNetwork(Small(), "small")
    features = seen(network)
    gone = [weakref.ref(x) for x in (features.stem, *features.stages, *features.preacts)]
    del features
    assert not [reference for reference in gone if reference() is not None]
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]


# ---------------------------------------------------------------- where the stages are


@pytest.mark.parametrize(
    ("name", "stem", "widths", "embedding"),
    [
        ("resnet18", (64, 16), (64, 128, 256, 512), 512),
        ("mobilenet_v2", (16, 32), (24, 32, 96, 1280), 1280),
        ("shufflenet_v2_x0_5", (24, 16), (48, 96, 1024), 1024),
        ("densenet121", (64, 16), (256, 512, 1024, 1024), 1024),
        ("regnet_y_400mf", (32, 32), (48, 104, 208, 440), 440),
        ("convnext_tiny", (96, 16), (96, 192, 384, 768), 768),
        ("swin_t", (96, 16), (96, 192, 384, 768), 768),
    ],
)
def test_the_stages_are_those_of_the_networks_papers(
    name: str, stem: tuple[int, int], widths: tuple[int, ...], embedding: int
):
    with torch.no_grad():
        shapes = Shapes.of(seen(built(f"torchvision/{name}").eval()))
    sides = (16, 8, 4, 2)[-len(widths) :]
    stages = tuple((width, side, side) for width, side in zip(widths, sides, strict=True))
    assert shapes == Shapes((stem[0], stem[1], stem[1]), stages, embedding, 10)


def test_a_residual_stage_is_the_activation_of_its_preact():
    network = built("torchvision/resnet18")
    features = seen(network)
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact.relu(), stage)
        assert (preact < 0).any()
    torch.testing.assert_close(features.embedding, features.stages[-1].mean(dim=(2, 3)))
    assert torch.equal(network.head(features.embedding), features.logits)
    assert features.stem.min() == 0
    assert not any(tap.written for tap in network.layout.preacts)  # no copy is made


def test_a_linear_bottleneck_is_its_own_preact():
    features = seen(built("torchvision/mobilenet_v2"))
    pairs = list(zip(features.preacts, features.stages, strict=True))
    assert all(preact is stage for preact, stage in pairs[:3])
    assert torch.equal(pairs[3][0].clamp(0, 6), pairs[3][1])


@pytest.mark.parametrize("functional", [True, False])
def test_an_activation_that_would_overwrite_its_preact_does_not(functional: bool):
    network = ExternalNetwork(Small(functional=functional), "small")
    features = seen(network)
    for preact, stage, norm in zip(features.preacts, features.stages, network.norms, strict=True):
        assert preact.min() < 0
        assert torch.equal(preact.relu(), stage)
        nn.init.ones_(norm.bias)
    features.preacts[0].retain_grad()
    torch.autograd.backward(features.logits.sum())
    assert cast(Tensor, features.preacts[0].grad).any()  # logits come after it, not beside it


def test_what_is_added_to_after_its_activation_is_its_own_preact():
    class Lifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.conv(x), inplace=True)
            x += 1
            return x

    class Added(Small):
        def __init__(self) -> None:
            super().__init__()
            self.lifted = nn.ModuleList(Lifted() for _ in self.down)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x), inplace=True)
            for down, lifted in zip(self.down, self.lifted, strict=True):
                x = lifted(down(x))
            return cast(Tensor, self.fc(x.mean((2, 3))))

    network = ExternalNetwork(Added(), "added")
    assert [tap.path for tap in network.layout.stages] == ["lifted.0", "lifted.1"]
    features = seen(network)
    # What entered the ReLU does not return the stage: nothing does but the stage itself.
    assert features.preacts[0] is features.stages[0]
    assert features.stages[0].min() == 1


def test_maps_with_the_channels_last_are_turned():
    features = seen(ExternalNetwork(Small(channels_last=True), "small"))
    assert [stage.shape for stage in features.stages] == [(2, 4, 16, 16), (2, 4, 8, 8)]


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/mobilenet_v2"])
def test_each_norm_is_the_one_behind_its_preact(name: str):
    network = built(name)
    before = seen(network)
    for i, norm in enumerate(network.norms):
        nn.init.ones_(norm.bias)
        torch.testing.assert_close(seen(network).preacts[i], before.preacts[i] + 1)
        nn.init.zeros_(norm.bias)


def test_where_a_preact_has_no_norm_of_its_own_the_network_offers_none():
    network = built("torchvision/shufflenet_v2_x0_5")
    assert network.layout.norms == (None, None, "conv5.1")
    assert network.norms == ()


def test_stages_can_be_named():
    network = built("torchvision/resnet18@layer2.0+layer4")
    assert Shapes.of(seen(network)).stages == ((128, 8, 8), (512, 2, 2))
    assert len(network.norms) == 2


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision/resnet19", r"no such network in torchvision. Did you mean 'resnet18'\?$"),
        ("keras/resnet18", "'keras/resnet18': expected torchvision/NAME or timm/NAME"),
        (
            "torchvision/resnet18.IMAGENET1K_V1@layer4",
            r"the tag IMAGENET1K_V1 names trained weights, .* Write torchvision/resnet18@layer4\.",
        ),
        ("torchvision/squeezenet1_1", "no linear layer returns its logits"),
        ("torchvision/vit_b_32", r"found no stages.*torchvision/vit_b_32@PATH\+PATH"),
        ("torchvision/resnet18@layer5", r"no module 'layer5' is called. Did you mean 'layer4'\?"),
        ("torchvision/resnet18@fc", r"'fc' returns \(1, 10\) of one image, which is not a map"),
    ],
)
def test_networks_that_cannot_be_used_are_refused_with_the_reason(name: str, said: str):
    with pytest.raises(UserError, match=said):
        built(name)


def test_a_network_of_one_resolution_has_no_stages():
    layers = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    with pytest.raises(UserError, match="flat: found no stages"):
        ExternalNetwork(nn.Sequential(*layers, nn.Linear(4, 10)), "flat")


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("inception_v3", 64, r"inception_v3 cannot see images of 64x64 pixels: .*[Kk]ernel size"),
        ("resnet18", 16, r"resnet18: images of 16x16 pixels are too small, .* 2x2, 1x1, 1x1$"),
    ],
)
def test_too_small_an_image_is_an_error_with_network_and_size(name: str, side: int, said: str):
    with pytest.raises(UserError, match=said):
        seen(built(f"torchvision/{name}"), side)


def test_without_timm_its_networks_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wrapper, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"timm is not installed.*'\.\[timm\]'"):
        external_factory("timm/resnet18")


# ---------------------------------------------------------------- timm


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.a1_in1k", r"the tag a1_in1k names trained weights, but .* random weights"),
        ("resnet18.a1_in1k", r"Write timm/resnet18\. .* FILE --as timm/resnet18$"),
        ("resnett18.a1_in1k", r"no such network in timm"),
    ],
)
def test_a_tag_of_trained_weights_is_refused_with_what_to_write(name: str, said: str):
    with pytest.raises(UserError, match=said):
        external_factory(f"timm/{name}")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet10t", ["layer1", "layer2", "layer3", "layer4"]),
        ("mobilenetv3_small_050", ["blocks.0", "blocks.1", "blocks.3", "blocks.5"]),
        ("regnetx_002", ["s1", "s2", "s3", "final_conv"]),
        ("convnextv2_atto", ["stages.0", "stages.1", "stages.2", "norm_pre"]),
    ],
)
def test_timms_networks_have_the_same_features_as_torchvisions(name: str, stages: list[str]):
    theirs, ours = plain(f"timm/{name}"), built(f"timm/{name}")
    assert [tap.path for tap in ours.layout.stages] == stages
    features = seen(ours)
    assert torch.equal(features.logits, theirs(images()))
    assert equal(ours.state_dict(), theirs.state_dict())
    assert [norm.num_features for norm in ours.norms] in (
        [],
        [p.shape[1] for p in features.preacts],
    )


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")
def test_beside_a_shortcut_with_a_norm_the_branchs_norm_counts():
    assert built("timm/regnetx_002").layout.norms[0] == "s1.b1.conv3.bn"
    assert built("timm/resnet10t").layout.norms[1] == "layer2.0.bn2"
