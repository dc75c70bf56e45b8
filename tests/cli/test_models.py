"""The output of `models`."""

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark import models
from benchmark.cli.main import parse_command_line
from benchmark.cli.models import print_models
from benchmark.config.errors import UserError
from benchmark.models.flops import build_on_meta_device, features_and_flops


def printed(*names: str, shapes: str | None = None, dataset: str = "cifar100") -> str:
    out = io.StringIO()
    print_models(names, shapes, dataset, Path(), Console(file=out, width=160))
    return out.getvalue()


def test_every_network_is_listed_with_its_parameters():
    text = printed()
    assert all(re.search(rf"{name} +│", text) for name in models.network_names())
    assert re.search(r"resnet32x4 +│ +7,433,860 ", text)
    assert "torchvision/resnet18" in text


def test_networks_can_be_asked_for_by_name():
    text = printed("resnet8", "torchvision/shufflenet_v2_x1_0", dataset="digits")
    assert re.search(r"torchvision/shufflenet_v2_x1_0 +│ +1,263,854 ", text)
    assert "resnet20" not in text


def test_one_network_shows_shapes_parameters_and_flops():
    text = printed(shapes="resnet8")
    assert re.search(r"stem +│ 16 x 32 x 32 ", text)
    assert re.search(r"stage 3 +│ 64 x 8 x 8 +│ before the stage's activation", text)
    assert re.search(r"embedding +│ 64 ", text)
    # Twice the multiplications: 3x3 convolutions of three stages, two 1x1 ones, the classifier.
    convolutions = 1024 * (27 * 16 + 2 * 144 * 16) + 256 * (144 * 32 + 288 * 32 + 16 * 32)
    convolutions += 64 * (288 * 64 + 576 * 64 + 32 * 64)
    assert f"83,892 parameters, {2 * (convolutions + 6400):,} FLOPs per image" in text


def test_an_external_network_shows_its_modules_at_the_data_sets_size():
    text = printed(shapes="torchvision/mobilenet_v2", dataset="tinyimagenet")
    assert "64 px, 200 classes" in text
    assert re.search(r"stage 2 +│ 32 x 8 x 8 +│ same as the stage +│ features.6", text)
    assert re.search(r"embedding +│ 1280 +│ +│ before classifier.1", text)


def test_networks_are_listed_without_any_computation():
    for name in ("resnet110", "torchvision/shufflenet_v2_x0_5"):
        assert {p.device.type for p in build_on_meta_device(name, 10).parameters()} == {"meta"}


def test_the_list_changes_no_random_state():
    before = torch.get_rng_state()
    printed()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shapes": "resnet2"}, "'resnet2': no such network. Did you mean 'resnet"),
        ({"dataset": "digit"}, "no such data set. Did you mean 'digits'"),
        ({"shapes": "torchvision/inception_v3"}, "cannot see images of 32x32 pixels"),
    ],
)
def test_wrong_names_and_sizes_are_reported(wrong: dict[str, str], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        printed(**wrong)


def test_a_network_that_needs_larger_images_says_so():
    with pytest.raises(UserError, match="16x16 pixels or more, not 8x8"):
        features_and_flops(build_on_meta_device("MobileNetV2", 10), 8)


def test_the_command_line_has_the_verb():
    options = parse_command_line(["models", "--shapes", "resnet20", "--dataset", "digits"])
    assert (options.verb, options.shapes, options.dataset) == ("models", "resnet20", "digits")
