"""Data sets are the official ones, checked, and always in the same order."""

import hashlib
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR100 as OFFICIAL

from benchmark.config.errors import UserError
from benchmark.data import SOURCES
from benchmark.data.sets.digits import read_digits
from benchmark.data.source import Images, Split
from tests.training.learners import digits, in_memory


def digest(images: Images) -> str:
    content = images.pixels.numpy().tobytes() + images.labels.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def test_the_digits_never_change():
    # Pixels, labels, split and order are in every run's identity only as `version`.
    assert (digest(digits().train), digest(digits().test)) == GOLDEN


GOLDEN = ("9f0ef898c2b390d4", "66d24255091cbad7")


def test_the_digits_are_split_by_class_and_no_image_is_lost():
    split = digits()
    train, test = split.train.labels.bincount(), split.test.labels.bincount()
    assert (train + test).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert train.tolist() == [round(n / 3) for n in (train + test).tolist()]
    assert len(split.train.labels) == 599


def test_the_digits_are_scikit_learns():
    for ours, theirs in zip(read_digits(), load_digits(return_X_y=True), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_the_digits_are_enlarged_exactly():
    small = {(row * 255 / 16 + 0.5).astype(np.uint8).tobytes() for row in load_digits().data}
    for part in digits():
        assert part.pixels.shape[1:] == (3, 16, 16)
        assert torch.equal(part.pixels[:, 0], part.pixels[:, 2])
        assert all(image[0, ::2, ::2].numpy().tobytes() in small for image in part.pixels)
        assert torch.equal(part.pixels[..., ::2, ::2], part.pixels[..., 1::2, 1::2])


def test_the_digits_mean_and_std_are_the_train_images():
    grey = digits().train.pixels.double() / 255
    assert SOURCES["digits"].mean[0] == pytest.approx(grey.mean().item(), abs=0.005)
    assert SOURCES["digits"].std[0] == pytest.approx(grey.std().item(), abs=0.005)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_limit_keeps_the_first_images(name):
    images = Images(torch.arange(10), torch.arange(10))
    assert images.first(3).labels.tolist() == [0, 1, 2]
    assert len(images.first(None).labels) == 10
    assert SOURCES[name].name == name


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in the official layout with three train and two test images, and their checksums."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    sums = {}
    for name, count in (("train", 3), ("test", 2)):
        data = np.arange(count * 3072, dtype=np.uint32).astype(np.uint8).reshape(count, 3072)
        write(folder / name, {"data": data, "fine_labels": list(range(count))})
    write(folder / "meta", {"fine_label_names": [f"class {i}" for i in range(100)]})
    for path in folder.iterdir():
        sums[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(OFFICIAL, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(OFFICIAL, "test_list", [["test", sums["test"]]])
    meta = OFFICIAL.meta | {"md5": sums["meta"]}
    monkeypatch.setattr(OFFICIAL, "meta", meta)
    return tmp_path


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(pickle.dumps(content))


def test_cifar_is_read_in_the_official_order_channels_first(tiny_cifar):
    split = in_memory(SOURCES["cifar100"].load(tiny_cifar))
    assert isinstance(split, Split)
    assert split.train.labels.tolist() == [0, 1, 2]
    assert split.test.pixels.shape == (2, 3, 32, 32)
    # The files hold all reds, then greens, then blues of an image, row by row.
    assert split.train.pixels[1].flatten().tolist() == [i % 256 for i in range(3072, 6144)]


def test_a_damaged_cifar_file_is_named_with_both_checksums(tiny_cifar):
    path = tiny_cifar / "cifar-100-python" / "test"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"cifar-100-python/test is damaged: its md5 is \w{32}, the"
    ):
        SOURCES["cifar100"].load(tiny_cifar)


def test_without_files_and_without_a_network_the_message_says_where_to_put_them(
    tmp_path, monkeypatch
):
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(
        UserError, match=r"lacks .* in .*cifar-100-python\. .*could not be downloaded"
    ) as error:
        SOURCES["cifar100"].load(tmp_path)
    assert "--data-root or the environment variable KD_DATA" in str(error.value)
    assert "Name or service not known" in str(error.value)
