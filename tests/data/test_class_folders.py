"""Folders of images: TinyImageNet's official layout and anybody's own, decoded once."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.config.errors import UserError
from benchmark.data.files import decode, prepared
from benchmark.data.files.class_folders import ImageFile, interleave_classes
from benchmark.data.files.decode import (
    DecodeResult,
    DecodeTask,
    decode_in_parallel,
    decoder_version,
)
from benchmark.data.files.prepared import Prepared
from benchmark.data.sets import imagefolder, tinyimagenet
from benchmark.data.source import Images, Split
from tests.data.official_layouts import picture
from tests.data.tiny_imagenet import COUNTS, folder, root
from tests.training.learners import in_memory

__all__ = ["root"]  # a fixture

Shards = Iterator[tuple[DecodeTask, DecodeResult]]
IDS = ["n01", "n02", "n03"]
load = partial(tinyimagenet.load, counts=COUNTS)


def shown(path: Path) -> torch.Tensor:
    """What a picture must come out as."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def refused(root: Path) -> list[str]:
    with pytest.raises(UserError) as told:
        load(root)
    return [line.strip() for line in str(told.value).splitlines()]


# ---------------------------------------------------------------- TinyImageNet


def test_the_official_layout_is_read_classes_in_the_order_of_their_ids(root):
    train, test = load(root)
    # Dealt like cards, so that dataset.limit keeps all classes.
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert test.labels.tolist() == [0, 1, 2] * 2
    images = folder(root) / "train" / "n02" / "images"
    assert torch.equal(train.pixels[4], shown(images / "n02_1.JPEG"))
    # n03 is the class of the first two validation images.
    assert torch.equal(test.pixels[2], shown(folder(root) / "val/images/val_0.JPEG"))
    assert torch.equal(test.pixels[0], shown(folder(root) / "val/images/val_4.JPEG"))


def test_a_grey_jpeg_gets_three_equal_channels(root):
    grey = load(root).train.pixels[7]
    path = folder(root) / "train/n02/images/n02_2.JPEG"
    assert Image.open(path).mode == "L"
    assert torch.equal(grey, shown(path))
    assert torch.equal(grey[0], grey[2])


def test_a_list_of_ids_that_is_cut_is_named_once_and_the_folders_count(root, capfd):
    (folder(root) / "wnids.txt").write_text("n02")
    assert load(root).train.labels.max() == 2
    load(root)
    told = capfd.readouterr().out
    assert told.count("wnids.txt lists 1 classes, but there are 3 class folders") == 1


def test_all_that_is_wrong_is_named_in_one_message_before_anything_is_trained(root):
    broken = folder(root)
    shutil.rmtree(broken / "train" / "n01")
    picture(broken / "train" / "n99" / "images" / "n99_0.JPEG", 0)
    truncated = broken / "train" / "n02" / "images" / "n02_1.JPEG"
    truncated.write_bytes(truncated.read_bytes()[:-900])
    (broken / "train" / "n02" / "images" / "n02_3.JPEG").write_text("no picture")
    picture(broken / "train" / "n03" / "images" / "n03_0.JPEG", 0, size=(64, 48))
    (broken / "val" / "images" / "val_0.JPEG").unlink()
    picture(broken / "val" / "images" / "val_9.JPEG", 0)
    title, *problems = refused(root)
    assert title == f"{broken} cannot be used as it is: 10 problems"
    expected = [
        "train/n01: is missing, wnids.txt names it",
        "train/n99: is no class of wnids.txt",
        "val/images/val_0.JPEG: is missing, val_annotations.txt lists it",
        "val/images/val_9.JPEG: has no annotation",
        "train/n99: 1 images, 4 expected",
        "val/n03: 1 images, 2 expected",
        "val/n99: 0 images, 2 expected",
        "train/n02/images/n02_1.JPEG: cannot be decoded (image file is truncated",
        "train/n02/images/n02_3.JPEG: is no image that can be read",
        "train/n03/images/n03_0.JPEG: cannot be decoded (it is 64x48, not 64x64)",
    ]
    assert [p for p, e in zip(problems, expected, strict=True) if not p.startswith(e)] == []


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("train", "train: is missing or holds no class folders"),
        ("val", "val: neither val_annotations.txt nor class folders are there"),
        ("val/images", "val/images: is missing"),
    ],
)
def test_a_part_that_is_missing_is_named(root, gone, said):
    shutil.rmtree(folder(root) / gone)
    assert said in refused(root)


def test_a_class_that_only_validation_has_is_named_though_the_list_of_ids_is_gone(root):
    (folder(root) / "wnids.txt").unlink()
    shutil.rmtree(folder(root) / "train" / "n02")
    problems = refused(root)
    assert "train/n02: is missing, val names it" in problems
    assert "train: 2 class folders, 3 expected" in problems


def test_of_very_many_problems_the_first_are_named_and_all_are_counted(root):
    for k in range(30):
        (folder(root) / "val" / "images" / f"no_{k:02d}.JPEG").write_text("")
    lines = refused(root)
    assert lines[0].endswith(": 30 problems")
    assert lines[-1] == "and 10 more"
    assert len(lines) == 22


def test_without_a_copy_it_is_said_where_to_get_one_and_nothing_is_left_behind(tmp_path):
    with pytest.raises(UserError, match=r"not at .*tiny-imagenet-200: unpack http.*--data-root"):
        tinyimagenet.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_validation_images_that_were_sorted_into_folders_are_the_same_data_set(root):
    official = load(root)
    shutil.rmtree(root / ".prepared")
    val = folder(root) / "val"
    for line in (val / "val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        (val / wnid).mkdir(exist_ok=True)
        (val / "images" / name).rename(val / wnid / name)
    (val / "images").rmdir()
    (val / "val_annotations.txt").unlink()
    assert same(official, load(root))


def same(one: Split[Images], other: Split[Images]) -> bool:
    pairs = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    return all(torch.equal(a, b) for a, b in pairs)


# ---------------------------------------------------------------- prepared once


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many shards were decoded, each time that anything was; shards are of five images."""
    counts: list[int] = []

    def counting(shards: Sequence[DecodeTask]) -> Shards:
        counts.append(len(shards))
        return decode_in_parallel(shards)

    monkeypatch.setattr(prepared, "IMAGES_PER_DECODE_TASK", 5)
    monkeypatch.setattr(prepared, "decode_in_parallel", counting)
    return counts


def test_what_is_prepared_is_opened_without_the_images(root, asked):
    first = load(root)
    shutil.rmtree(folder(root))
    assert same(first, load(root))
    assert len(asked) == 1


def test_processes_decode_what_one_would(root, asked, monkeypatch):
    monkeypatch.setattr(decode, "FEWEST_FOR_PROCESSES", 0)
    many = load(root)  # five shards: real processes
    shutil.rmtree(root / ".prepared")
    monkeypatch.setattr(prepared, "IMAGES_PER_DECODE_TASK", 1000)
    assert same(many, load(root))
    assert asked == [5, 2]


def test_an_interrupted_preparation_goes_on_from_finished_shards(root, asked, monkeypatch):
    def interrupted(shards: Sequence[DecodeTask]) -> Shards:
        yield from decode_in_parallel(shards[:2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "decode_in_parallel", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(root)
    assert not tinyimagenet.prepared(root).exists()
    split = load(root)
    assert asked == [3]
    assert torch.equal(split.train.pixels[0], shown(folder(root) / "train/n01/images/n01_0.JPEG"))


def test_mending_one_image_costs_one_shard(root, asked):
    path = folder(root) / "train/n03/images/n03_3.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert len(refused(root)) == 2
    path.write_bytes(whole)
    load(root)
    assert asked == [5, 1]


def test_shards_of_other_images_are_not_gone_on_from(root, asked):
    broken = folder(root) / "train/n03/images/n03_3.JPEG"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    refused(root)
    broken.write_bytes(whole)
    images = folder(root) / "train/n01/images"
    (images / "n01_0.JPEG").unlink()
    picture(images / "n01_9.JPEG", 77)
    assert torch.equal(load(root).train.pixels[0], shown(images / "n01_1.JPEG"))


def test_a_preparation_that_was_killed_leaves_nothing_in_the_way(root):
    place = tinyimagenet.prepared(root)
    place.shards.mkdir(parents=True)
    for torn in (place.folder / ".train.npy.0.tmp", place.shards / ".train-0-0.npy.0.tmp"):
        torn.write_bytes(b"half")
    load(root)
    names = ["manifest.json", "test-labels.npy", "test.npy", "train-labels.npy", "train.npy"]
    assert sorted(path.name for path in place.folder.iterdir()) == names


def test_of_two_preparations_at_once_the_second_waits_and_finds_it_done(root, asked, capfd):
    place = tinyimagenet.prepared(root)
    with prepared.exclusive_access(place.folder):
        second = threading.Thread(target=load, args=(root,))
        second.start()
        time.sleep(0.3)
        assert not asked
        prepared.decode_data_set(place, tinyimagenet.list_images(root, COUNTS))
    second.join(10)
    assert asked == [5]
    assert f"process {os.getpid()}, prepares" in capfd.readouterr().out


def test_what_a_run_writes_to_its_images_stays_with_it(root):
    load(root).train.pixels.zero_()
    assert load(root).train.pixels.any()
    tinyimagenet.prepared(root).verify()


def test_the_manifest_says_what_was_prepared_from_what_by_what(root):
    load(root)
    manifest = json.loads(tinyimagenet.prepared(root).manifest.read_bytes())
    assert manifest["images"] == {"train": 12, "test": 6}
    assert manifest["classes"] == IDS
    assert manifest["decoder"] == decoder_version()
    assert manifest["source"]["folder"] == str(folder(root))
    assert len(manifest["source"]["listing"]) == 64
    assert len(manifest["sha256"]) == 4


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        (flip, "train.npy", r"train\.npy's sha256 is \w{64}, \w{64} was written"),
        (cut, "test.npy", "test cannot be read"),
        (Path.unlink, "test-labels.npy", "test cannot be read"),
        (cut, "manifest.json", "its manifest cannot be read"),
        (lambda path: path.write_text("{}"), "manifest.json", "not what this version writes"),
    ],
)
def test_prepared_files_that_were_damaged_are_named_with_the_remedy(
    root, damage: Callable[[Path], None], name, said
):
    load(root)
    place = tinyimagenet.prepared(root)
    damage(place.folder / name)
    with pytest.raises(UserError, match=f"{place.folder} is damaged: .*{said}.* Delete it"):
        load(root), place.verify()


def test_pixels_unlike_the_known_copys_are_remarked_upon_not_refused(root, capfd):
    load(root)
    tinyimagenet.verify(root)
    assert "differ from the reference copy" in capfd.readouterr().out


# ---------------------------------------------------------------- anybody's folder


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Two classes of PNGs and JPEGs of several shapes."""
    for part, count in (("train", 3), ("val", 1)):
        for i, name in enumerate(("auk", "owl")):
            for k in range(count + i):
                suffix = "png" if k else "jpg"
                picture(tmp_path / "birds" / part / name / f"{k}.{suffix}", k, (40, 50 + k))
    return tmp_path


def test_any_folder_is_read_scaled_to_the_size_asked_for(birds):
    source = imagefolder.imagefolder_source(birds, "birds", 24)
    train, test = in_memory(source.load(birds))
    assert (source.classes, source.size, source.padding) == (2, 24, 3)
    assert train.labels.tolist() == [0, 1, 0, 1, 0, 1, 1]
    assert test.labels.tolist() == [0, 1, 1]
    assert train.pixels.shape == (7, 3, 24, 24)
    source.verify(birds)


def test_of_an_image_the_centre_is_kept_undistorted(tmp_path):
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, 20:40] = 200  # the middle third is the centre square
    for part in ("train", "test"):
        path = tmp_path / "set" / part / "one" / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(stripes).save(path)
    pixels = in_memory(
        imagefolder.imagefolder_source(tmp_path, "set", 10).load(tmp_path)
    ).train.pixels
    assert pixels.min() > 150  # of neighbours, no more than what blurs in


def test_other_images_make_another_version_and_are_prepared_anew(birds):
    before = imagefolder.imagefolder_source(birds, "birds", 16)
    before.load(birds)
    picture(birds / "birds/train/auk/new.png", 7)
    after = imagefolder.imagefolder_source(birds, "birds", 16)
    assert before.version != after.version
    assert imagefolder.imagefolder_source(birds, "birds", 17).version != after.version
    assert len(after.load(birds).train.labels) == 8


def test_the_test_folder_is_the_test_part_where_there_is_val_too(birds):
    shutil.copytree(birds / "birds/val", birds / "birds/test")
    picture(birds / "birds/test/auk/more.png", 9)
    assert len(imagefolder.imagefolder_source(birds, "birds", 16).load(birds).test.labels) == 4


def test_what_is_wrong_with_a_folder_is_named(birds):
    shutil.rmtree(birds / "birds/val/auk")
    picture(birds / "birds/val/emu/0.png", 0)
    (birds / "birds/train/owl/0.jpg").write_text("?")
    with pytest.raises(UserError) as told:
        imagefolder.imagefolder_source(birds, "birds", 16).load(birds)
    assert str(told.value).splitlines()[1:] == [
        "  val/auk: holds no images",
        "  val/emu: is no class of train",
        "  train/owl/0.jpg: is no image that can be read",
    ]
    shutil.rmtree(birds / "birds/train")
    with pytest.raises(UserError, match="train: is missing or holds no class folders"):
        imagefolder.imagefolder_source(birds, "birds", 16).load(birds)
    with pytest.raises(UserError, match="no folder of images at"):
        imagefolder.imagefolder_source(birds, "fish", 16)


def test_a_source_says_whether_it_is_prepared(birds):
    source = imagefolder.imagefolder_source(birds, "birds", 16)
    assert source.presence(birds).todo == "to be decoded once"
    source.load(birds)
    assert source.presence(birds).todo == ""


def test_dealing_takes_the_first_of_every_class_then_the_second():
    a, b = (
        [ImageFile(f"{name}{k}", 1, i) for k in range(n)] for i, (name, n) in enumerate(CLASSES)
    )
    assert [member.file for member in interleave_classes([a, b])] == ["a0", "b0", "b1", "b2"]


CLASSES = (("a", 1), ("b", 3))


def test_a_prepared_set_of_another_size_is_not_taken_for_this_one(root):
    load(root)
    place = tinyimagenet.prepared(root)
    with pytest.raises(UserError, match="not of the shape that its manifest says"):
        Prepared(place.folder, 32).load(lambda: pytest.fail("it is there"))
