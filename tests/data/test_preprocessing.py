"""A network that is used outside the suite gets the pixels that its accuracy was measured on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets, transforms

from benchmark.config.errors import UserError
from benchmark.config.recipe import DatasetConfig
from benchmark.data import SOURCES, find_data_set
from benchmark.data.preprocessing import describe_preprocessing, evaluation_transform
from benchmark.data.sets import imagenet
from benchmark.data.source import Source
from benchmark.data.stream import TestImages
from tests.data import official_layouts as layouts
from tests.training.learners import in_memory

CPU = torch.device("cpu")
SIZES = [(64, 64), (80, 60), (61, 97), (200, 33), (24, 31), (129, 256)]


def suites(source: Source, root: Path, size: int | None = None) -> Tensor:
    """All test images as the suite's evaluation computes them."""
    test = TestImages(source.load(root).test, source, CPU, 3, size)
    return torch.cat([images for images, _ in test.batches()])


def described(source: Source, root: Path, size: int | None = None):
    config = DatasetConfig(
        name=source.name, version=1, limit=None, size=size, padding=2, flip=True, crop="padded"
    )
    return describe_preprocessing(source, root, config)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A data root with a folder of images of many shapes; every class has one test image of each.

    They are in the order in which the suite reads them: round by round.
    """
    for part in ("train", "test"):
        for k, size in enumerate(SIZES):
            for label, name in enumerate(("crow", "owl")):
                file = tmp_path / "birds" / part / name / f"{k}.png"
                layouts.picture(file, 10 * k + label, size)
    return tmp_path


def folder_images(root: Path, transform) -> Tensor:
    """The same images by torchvision's ImageFolder, in the suite's order."""
    images = [image for image, _ in datasets.ImageFolder(root / "birds" / "test", transform)]
    return torch.stack(
        [image for pair in zip(images[:6], images[6:], strict=True) for image in pair]
    )


@pytest.mark.parametrize("size", [None, 24, 50])
def test_an_image_folder_gives_the_suites_own_pixels_to_the_last_bit(birds: Path, size: int | None):
    source = find_data_set("imagefolder/birds@32", birds)
    transform = evaluation_transform(described(source, birds, size))
    assert torch.equal(folder_images(birds, transform), suites(source, birds, size))
    names = [(step.name, step.filter) for step in transform.preprocessing.steps]
    assert names == [("fit", "bicubic"), ("resize", "bilinear")][: 1 if size is None else 2]
    assert transform.preprocessing.classes == ("crow", "owl")


def test_torchvisions_usual_transform_gives_an_image_folder_other_pixels(birds: Path):
    usual = transforms.Compose(
        [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()]
    )
    ours = evaluation_transform("imagefolder/birds@32", birds)
    plain = transforms.Compose(
        [ours, lambda x: x * torch.tensor(ours.preprocessing.std)[:, None, None]]
    )
    mean = torch.tensor(ours.preprocessing.mean)[:, None, None]
    difference = folder_images(birds, plain) + mean - folder_images(birds, usual)
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("size", [None, 24, 40])
@pytest.mark.parametrize("name", ["cifar10", "stl10", "digits"])
def test_a_set_in_memory_gives_the_suites_own_pixels_to_the_last_bit(
    name: str, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if name == "cifar10":
        train, test = {"data_batch_1": [0, 1]}, {"test_batch": [4, 5, 6]}
        layouts.cifar(tmp_path, monkeypatch, datasets.CIFAR10, train, test)
    elif name == "stl10":
        layouts.stl10(tmp_path, monkeypatch, train=3, test=2)
    source = SOURCES[name]
    transform = evaluation_transform(described(source, tmp_path, size))
    pixels = in_memory(source.load(tmp_path)).test.first(40).pixels.permute(0, 2, 3, 1).numpy()
    ours = torch.stack([transform(Image.fromarray(image)) for image in pixels])
    assert torch.equal(ours, suites(source, tmp_path, size)[:40])
    names = transform.preprocessing.classes
    assert names is not None
    assert len(names) >= source.classes


def test_the_digits_of_torchvision_style_data_sets_are_grey_and_get_three_channels():
    grey = Image.fromarray(layouts.noise(3, 28, 28))
    ours = evaluation_transform("fashionmnist")(grey)
    norm = transforms.Normalize((0.2860,) * 3, (0.3530,) * 3)
    usual = transforms.Compose([transforms.Grayscale(3), transforms.ToTensor(), norm])
    assert torch.equal(ours, usual(grey))


def streamed(root: Path) -> Iterator[Path]:
    """ImageNet's test images in the order of the suite."""
    for k in range(2):
        for wnid in layouts.WNIDS:
            yield sorted((root / "imagenet" / "val" / wnid).iterdir())[k]


@pytest.mark.parametrize("size", [None, 96])
def test_imagenets_crop_is_the_suites_and_torchvisions(tmp_path: Path, size: int | None):
    layouts.imagenet(tmp_path)
    source = imagenet.imagenet_source(tmp_path, counts=layouts.IMAGENET)
    ours = suites(source, tmp_path, size)
    transform = evaluation_transform(described(source, tmp_path, size))
    images = [Image.open(path) for path in streamed(tmp_path)]
    assert torch.equal(torch.stack([transform(image) for image in images]), ours)
    side = size or 224
    usual = transforms.Compose(
        [
            transforms.Resize(side * 256 // 224),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(source.mean, source.std),
        ]
    )
    assert torch.equal(torch.stack([usual(image.convert("RGB")) for image in images]), ours)
    assert transform.preprocessing.classes == tuple(sorted(layouts.WNIDS))


def test_an_image_of_another_size_is_refused_where_all_have_one():
    with pytest.raises(UserError, match=r"48x48 pixels, .* 32x32: scale it yourself"):
        evaluation_transform("cifar100")(Image.new("RGB", (48, 48)))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tinyimagenet", "imagenet"])
def test_without_its_files_a_data_set_has_no_class_names(name: str, tmp_path: Path):
    assert describe_preprocessing(SOURCES[name], tmp_path).classes is None


def test_a_file_of_class_names_that_is_not_the_official_one_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    layouts.cifar(
        tmp_path, monkeypatch, datasets.CIFAR10, {"data_batch_1": [0]}, {"test_batch": [4]}
    )
    (tmp_path / "cifar-10-batches-py" / "batches.meta").write_bytes(b"c__builtin__\nexit\n(tR.")
    assert describe_preprocessing(SOURCES["cifar10"], tmp_path).classes is None


def old_record(folder: Path, birds: Path, **change: int) -> Path:
    """A run's record from before records described their images."""
    source = find_data_set("imagefolder/birds@32", birds)
    dataset = {"name": source.name, "version": source.version, "limit": None, "padding": 4}
    content = {
        "schema": 1,
        "id": "an old run",
        "config": {"dataset": {**dataset, "flip": True, "size": 24, **change}},
        "result": {"top1": 90.0, "epoch": 1},
        "history": [{"epoch": 1, "phase": "task", "top1": 90.0}],
        "cost": {"parameters": 10},
    }
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def test_an_older_record_says_what_its_configuration_and_its_data_set_say(birds: Path):
    folder = old_record(birds / "run", birds)
    source = find_data_set("imagefolder/birds@32", birds)
    for path in (folder, folder / "record.json"):
        transform = evaluation_transform(path, birds)
        assert torch.equal(folder_images(birds, transform), suites(source, birds, 24))


def test_an_older_record_of_other_images_is_refused(birds: Path):
    with pytest.raises(UserError, match="have changed since"):
        evaluation_transform(old_record(birds / "run", birds, version=7), birds)


def test_the_example_in_the_documentation_runs(birds: Path, monkeypatch: pytest.MonkeyPatch):
    page = Path(__file__).parents[2] / "docs" / "data.md"
    [example] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    folder = old_record(birds / "run", birds)
    (birds / "data").symlink_to(birds)
    monkeypatch.chdir(birds)
    names: dict[str, object] = {}
    exec(example.replace("results/runs/RUN", str(folder)), names)
    assert isinstance(names["images"], datasets.ImageFolder)
    assert names["images"][0][0].shape == (3, 24, 24)
