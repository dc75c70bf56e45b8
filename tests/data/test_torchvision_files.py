"""What torchvision knows is read from the official files, in the official order, checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import threading
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.data import SOURCES
from benchmark.data.sets import stl10
from benchmark.data.source import Split
from tests.data import official_layouts as layouts
from tests.data.official_layouts import Patch, md5, noise
from tests.data.web_server import Site, site
from tests.training.learners import in_memory

__all__ = ["site"]  # a fixture

OFFICIAL = ["cifar10", "cifar100", "fashionmnist", "stl10"]


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Two train files and a test file of two images each."""
    train = {"data_batch_1": [0, 1], "data_batch_2": [2, 3]}
    layouts.cifar(tmp_path, monkeypatch, datasets.CIFAR10, train, {"test_batch": [4, 5]})
    return tmp_path


def test_cifar10_is_read_in_the_official_order_channels_first(cifar10):
    split = in_memory(SOURCES["cifar10"].load(cifar10))
    assert split.train.labels.tolist() == [0, 1, 2, 3]
    assert split.test.labels.tolist() == [4, 5]
    assert split.train.pixels[2].flatten().tolist() == noise(2, 3072).tolist()


@pytest.fixture
def stl(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Three train and two test images; of the unlabelled ones there is no file."""
    layouts.stl10(tmp_path, monkeypatch, train=3, test=2)
    return tmp_path


def test_stl10_is_what_torchvision_reads(stl, monkeypatch):
    ours = in_memory(SOURCES["stl10"].load(stl))
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda _: True)
    for part, images in zip(("train", "test"), ours, strict=True):
        theirs = datasets.STL10(stl, part)
        assert torch.equal(images.pixels, torch.from_numpy(theirs.data.copy()))
        assert images.labels.tolist() == theirs.labels.tolist()
        assert images.pixels.shape[1:] == (3, 96, 96)


def test_stl10_needs_no_unlabelled_images(stl):
    assert not (stl / "stl10_binary" / stl10.UNREAD).exists()
    assert SOURCES["stl10"].presence(stl).todo == ""
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
    split = in_memory(SOURCES["fashionmnist"].load(fashion))
    for train, images in zip((True, False), split, strict=True):
        theirs = datasets.FashionMNIST(fashion, train=train)
        for channel in range(3):
            assert torch.equal(images.pixels[:, channel], theirs.data)
        assert torch.equal(images.labels, theirs.targets)
        assert images.labels.dtype == torch.int64


def test_fashion_mnist_needs_no_rounding_up_its_stages_come_out_even():
    shapes = models.feature_shapes("resnet8", 10, 3, SOURCES["fashionmnist"].size)
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
    found = SOURCES[name].presence(tmp_path)
    with pytest.raises(UserError, match=r"--data-root or the environment variable KD_DATA") as told:
        SOURCES[name].load(tmp_path)
    assert str(tmp_path / found.location) in str(told.value)
    assert all(file in str(told.value) for file in found.missing)
    assert "to be downloaded" in found.todo


PACKED = {"cifar10": datasets.CIFAR10, "stl10": datasets.STL10}


@pytest.fixture(params=PACKED)
def packed(request: pytest.FixtureRequest, monkeypatch: Patch, site: Site) -> tuple[str, Path]:
    """A data set that is nowhere but on a server, in a tar file with more than is needed."""
    name, kind = request.param, PACKED[request.param]
    root: Path = request.getfixturevalue({"stl10": "stl"}.get(name, name))
    (root / kind.base_folder / stl10.UNREAD).write_bytes(b"2.6 GB")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(root / kind.base_folder, kind.base_folder)
    shutil.rmtree(root / kind.base_folder)
    site.files["/file"] = file.getvalue()
    monkeypatch.setattr(kind, "url", site.url)
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(file.getvalue()).hexdigest())
    return name, root


def test_of_a_tar_file_that_is_downloaded_only_what_is_read_is_unpacked(packed, site):
    name, root = packed
    SOURCES[name].load(root)
    requests = len(site.requested)
    SOURCES[name].load(root)
    assert len(site.requested) == requests
    folder, kind = root / PACKED[name].base_folder, PACKED[name]
    read = [file for file, _ in (*kind.train_list, *kind.test_list) if file != stl10.UNREAD]
    read += ["batches.meta"] if name == "cifar10" else []
    assert sorted(path.name for path in folder.iterdir()) == sorted(read)
    assert (root / kind.filename).is_file()


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"half"), Path.unlink])
def test_a_tar_file_that_is_there_is_unpacked_again_where_files_are_not_whole(packed, site, harm):
    name, root = packed
    split = in_memory(SOURCES[name].load(root))
    requests = len(site.requested)
    harm(root / PACKED[name].base_folder / PACKED[name].test_list[0][0])
    again = in_memory(SOURCES[name].load(root))
    assert torch.equal(again.test.pixels, split.test.pixels)
    assert len(site.requested) == requests


def test_a_tar_file_that_is_not_whole_is_downloaded_again(packed, site):
    name, root = packed
    archive = root / PACKED[name].filename
    archive.write_bytes(site.files["/file"][:100])
    assert SOURCES[name].presence(root).todo == "to be unpacked"
    SOURCES[name].load(root)
    assert site.requested
    assert archive.read_bytes() == site.files["/file"]


def test_who_comes_second_finds_it_unpacked(packed, site, capsys):
    name, root = packed
    others = [threading.Thread(target=SOURCES[name].load, args=[root]) for _ in range(2)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    out = capsys.readouterr().out
    assert out.count("downloading") == 1
    assert out.count("unpacking") == 1


def test_a_file_that_is_unpacked_is_checked_too(packed, monkeypatch):
    name, root = packed
    file = PACKED[name].test_list[0][0]
    monkeypatch.setattr(PACKED[name], "test_list", [[file, "0" * 32], *PACKED[name].test_list[1:]])
    with pytest.raises(UserError, match=rf"{file} is damaged: .* is {'0' * 32}"):
        SOURCES[name].load(root)


def test_files_that_come_one_by_one_come_from_the_first_mirror_that_has_them(
    fashion, site, monkeypatch
):
    here = fashion / "FashionMNIST" / "raw"
    absent = [name for name, _ in datasets.FashionMNIST.resources][1:]
    for name in absent:
        site.files[f"/2/{name}"] = (here / name).read_bytes()
        (here / name).unlink()
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{site.top}/1/", f"{site.top}/2/"])
    assert len(SOURCES["fashionmnist"].load(fashion).test.labels) == 2
    assert {path.split("/")[-1] for path in site.requested} == set(absent)


def test_a_split_is_of_tensors_that_a_stream_takes(stl):
    split = in_memory(SOURCES["stl10"].load(stl))
    assert isinstance(split, Split)
    assert all(part.pixels.dtype == torch.uint8 for part in split)
    assert all(part.pixels.is_contiguous() for part in split)
