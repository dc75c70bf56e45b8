"""What torchvision knows is read from the official files, in the official order, checked."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from benchmark import models
from benchmark.data import SOURCES, stl10
from benchmark.data.source import Split
from benchmark.errors import UserError

OFFICIAL = ["cifar10", "cifar100", "fashionmnist", "stl10"]
Patch = pytest.MonkeyPatch


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Two train files and a test file of two images each."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, first in (("data_batch_1", 0), ("data_batch_2", 2), ("test_batch", 4)):
        data = np.arange(2 * 3072, dtype=np.uint32).reshape(2, 3072) + first
        content = {"data": data.astype(np.uint8), "labels": [first, first + 1]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("0123456789")}))
    sums = {path.name: md5(path) for path in folder.iterdir()}
    train = [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {**datasets.CIFAR10.meta, "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return tmp_path


def test_cifar10_is_read_in_the_official_order_channels_first(cifar10):
    split = SOURCES["cifar10"].load(cifar10)
    assert split.train.labels.tolist() == [0, 1, 2, 3]
    assert split.test.labels.tolist() == [4, 5]
    expected = [(i + 2) % 256 for i in range(3072)]
    assert split.train.pixels[2].flatten().tolist() == expected


@pytest.fixture
def stl(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Three train and two test images; of the unlabelled ones there is no file."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 3), ("test", 2)):
        random.integers(0, 256, count * 3 * 96 * 96, np.uint8).tofile(folder / f"{part}_X.bin")
        (np.arange(count, dtype=np.uint8) + 1).tofile(folder / f"{part}_y.bin")
    for key, part in (("train_list", "train"), ("test_list", "test")):
        names = [f"{part}_X.bin", f"{part}_y.bin"]
        listed = [[name, md5(folder / name)] for name in names]
        if part == "train":
            listed.append(["unlabeled_X.bin", "0" * 32])
        monkeypatch.setattr(datasets.STL10, key, listed)
    return tmp_path


def test_stl10_is_what_torchvision_reads(stl, monkeypatch):
    ours = SOURCES["stl10"].load(stl)
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda _: True)
    for part, images in zip(("train", "test"), ours, strict=True):
        theirs = datasets.STL10(stl, part)
        assert torch.equal(images.pixels, torch.from_numpy(theirs.data.copy()))
        assert images.labels.tolist() == theirs.labels.tolist()
        assert images.pixels.shape[1:] == (3, 96, 96)


def test_stl10_needs_no_unlabelled_images(stl):
    assert not (stl / "stl10_binary" / stl10.UNREAD).exists()
    assert SOURCES["stl10"].look(stl).todo == ""
    assert len(SOURCES["stl10"].load(stl).train.labels) == 3


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Three train and two test images in the IDX format."""
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for part, count in (("train", 3), ("t10k", 2)):
        pixels = (np.arange(count * 28 * 28) % 251).astype(np.uint8)
        for what, head, body in (
            ("images-idx3", (0x803, count, 28, 28), pixels),
            ("labels-idx1", (0x801, count), np.arange(count, dtype=np.uint8)),
        ):
            path = folder / f"{part}-{what}-ubyte.gz"
            content = np.array(head, ">u4").tobytes() + body.tobytes()
            path.write_bytes(gzip.compress(content))
            path.with_suffix("").write_bytes(content)  # what torchvision reads
            resources.append((path.name, md5(path)))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    return tmp_path


def test_fashion_mnist_is_what_torchvision_reads_in_three_equal_channels(fashion):
    split = SOURCES["fashionmnist"].load(fashion)
    for train, images in zip((True, False), split, strict=True):
        theirs = datasets.FashionMNIST(fashion, train=train)
        for channel in range(3):
            assert torch.equal(images.pixels[:, channel], theirs.data)
        assert torch.equal(images.labels, theirs.targets)
        assert images.labels.dtype == torch.int64


def test_fashion_mnist_needs_no_rounding_up_its_stages_come_out_even():
    shapes = models.shapes("resnet8", 10, 3, SOURCES["fashionmnist"].size)
    assert [stage[-1] for stage in shapes.stages] == [28, 14, 7]


SETS = {"cifar10": "data_batch_2", "fashionmnist": "t10k-labels-idx1-ubyte.gz"} | {
    "stl10": "test_y.bin"
}


@pytest.mark.parametrize("name", SETS)
def test_a_damaged_official_file_is_named_with_both_checksums(name, request):
    root = request.getfixturevalue({"fashionmnist": "fashion", "stl10": "stl"}.get(name, name))
    [path] = root.glob(f"*/**/{SETS[name]}")
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(UserError, match=rf"{SETS[name]} is damaged: its md5 is \w{{32}}, the"):
        SOURCES[name].load(root)


@pytest.mark.parametrize("name", OFFICIAL)
def test_without_files_and_network_it_is_said_which_files_go_where(name, tmp_path, monkeypatch):
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    found = SOURCES[name].look(tmp_path)
    with pytest.raises(UserError, match=r"--data-root or the environment variable KD_DATA") as told:
        SOURCES[name].load(tmp_path)
    assert str(tmp_path / found.place) in str(told.value)
    assert all(file in str(told.value) for file in found.missing)
    assert "to be downloaded" in found.todo


def test_a_file_that_is_downloaded_is_checked_too(stl, monkeypatch):
    def lying(_: Any, root: Path) -> None:
        (root / "stl10_binary" / "test_y.bin").write_bytes(b"\1\1")

    (stl / "stl10_binary" / "test_y.bin").unlink()
    object.__setattr__(stl10.OFFICIAL, "download", lying)
    try:
        with pytest.raises(UserError, match=r"test_y\.bin is damaged"):
            SOURCES["stl10"].load(stl)
    finally:
        object.__setattr__(stl10.OFFICIAL, "download", stl10.download)


def test_a_split_is_of_tensors_that_a_stream_takes(stl):
    split = SOURCES["stl10"].load(stl)
    assert isinstance(split, Split)
    assert all(part.pixels.dtype == torch.uint8 for part in split)
    assert all(part.pixels.is_contiguous() for part in split)
