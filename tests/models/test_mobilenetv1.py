"""MobileNetV1, and what it shows.

Figures of "mdistiller's code" were computed with its ``models/imagenet/mobilenetv1.py``.
"""

import hashlib
from typing import cast

import pytest
import torch
from torch import nn

from benchmark.models.mobilenetv1 import NETWORKS
from benchmark.models.network import Network
from methods.interface import Features, Shapes
from tests.models.chirp import chirp, fill


def built(classes: int = 10) -> Network:
    torch.manual_seed(0)
    return NETWORKS["MobileNetV1"](classes)


@torch.no_grad()
def seen(network: Network, side: int) -> Features:
    generator = torch.Generator().manual_seed(0)
    return cast(Features, network(torch.randn(2, 3, side, side, generator=generator)))


def test_it_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in built(1000).parameters()) == 4_231_976


def test_its_state_dict_has_the_keys_and_shapes_of_mdistillers_checkpoints():
    state = built(1000).state_dict()
    assert state["model.0.0.weight"].shape == (32, 3, 3, 3)
    assert state["model.12.0.weight"].shape == (512, 1, 3, 3)
    assert state["model.13.4.running_var"].shape == (1024,)
    lines = [f"{key} {list(value.shape)}" for key, value in state.items()]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "3f97d185b99b16ba"


def test_its_logits_are_those_of_mdistillers_code():
    logits = fill(built(1000))(chirp(2, 3, 224, 224, start=0.5)).logits
    expected = torch.tensor([3.272289325, 1.589786569, 0.197121045, 0.643875431])
    torch.testing.assert_close(logits[1, :4], expected.double(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("side", [32, 64, 96, 224])
def test_it_is_right_at_every_size(side: int):
    shapes = Shapes.of(seen(built().eval(), side))
    stages = [(c, side // s, side // s) for c, s in ((128, 4), (256, 8), (512, 16), (1024, 32))]
    assert shapes == Shapes((64, side // 2, side // 2), tuple(stages), 1024, 10)


def test_an_image_too_small_for_its_strides_is_refused_by_name():
    with pytest.raises(ValueError, match=r"MobileNetV1 needs images of 32x32 .* not 31x31"):
        seen(built(), 31)


def test_a_stage_is_the_relu_of_its_preact_and_the_last_one_is_pooled():
    network = built()
    features = seen(network, 64)
    for preact, stage in zip(features.preacts, features.stages, strict=True):
        assert torch.equal(preact.relu(), stage)
        assert (preact < 0).any()
    torch.testing.assert_close(features.embedding, features.stages[-1].mean(dim=(2, 3)))
    assert torch.equal(network.head(features.embedding), features.logits)
    assert features.stem.min() == 0


def test_each_norm_is_the_one_that_returns_its_preact():
    network = built()
    for norm in network.norms:
        nn.init.zeros_(norm.weight)
        nn.init.constant_(norm.bias, 3.0)
    assert all((preact == 3.0).all() for preact in seen(network, 64).preacts)


def test_a_forward_pass_moves_every_batch_norm_once():
    network = built().train()
    seen(network, 64)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(cast(torch.Tensor, m.num_batches_tracked)) for m in norms} == {1}
    assert len(norms) == 27


def test_the_loss_reaches_every_parameter():
    network = fill(built()).eval()
    network(chirp(2, 3, 64, 64)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
