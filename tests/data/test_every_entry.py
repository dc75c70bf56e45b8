"""Every entry of a folder of images is read, ignored with its count, or named as a problem."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from benchmark.config.errors import UserError
from benchmark.data.files.checksums import json_sha256
from benchmark.data.sets import imagefolder, imagenet, tinyimagenet
from benchmark.data.source import Source
from tests.data import official_layouts as layouts
from tests.data.official_layouts import IMAGENET, WNIDS, picture
from tests.data.tiny_imagenet import COUNTS
from tests.training.learners import in_memory


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Two classes with one image in each part."""
    for part in ("train", "test"):
        for number, name in enumerate(("auk", "owl")):
            picture(tmp_path / "birds" / part / name / "0.png", number, (8, 8))
    return tmp_path / "birds"


def train_files(birds: Path) -> list[str]:
    return sorted(image.file for image in imagefolder.list_images(birds).train)


def problems(birds: Path) -> list[str]:
    """The problems that `data prepare` names."""
    with pytest.raises(UserError) as caught:
        imagefolder.imagefolder_source(birds.parent, "birds", 8).load(birds.parent)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_images_in_subfolders_of_a_class_are_read_as_by_torchvision(birds):
    auk = birds / "train/auk"
    for place in ("a.png", "images/b.PNG", "images/deep/c.jpg", "folder.png/d.png", "e.TIFF"):
        picture(auk / place, 1, (8, 8))
    (auk / "linked").symlink_to(birds / "test/owl")
    samples = ImageFolder(birds / "train").samples
    theirs = [str(Path(path).relative_to(birds)) for path, _ in samples]
    assert len(theirs) == 8
    assert train_files(birds) == sorted(theirs)


def test_what_is_ignored_is_printed_with_its_count(birds, capsys):
    auk = birds / "train/auk"
    for name in ("._0.png", ".DS_Store", "a.gif", "b.GIF", "notes"):
        (auk / name).write_text("?")
    (birds / "train/readme.txt").write_text("?")
    (birds / "val").mkdir()
    imagefolder.imagefolder_source(birds.parent, "birds", 8).load(birds.parent)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("ignored")] == [
        "ignored: 1 beside the class folders of train",
        "ignored: 1 beside train and test (val)",
        "ignored: 2 hidden (the name begins with a dot)",
        "ignored: 2 named .gif",
        "ignored: 1 without a suffix",
    ]


@pytest.mark.parametrize("place", ["train/auk", "train/auk/deep"])
def test_a_fifo_named_like_an_image_is_a_problem_and_is_not_opened(birds, place):
    (birds / place).mkdir(exist_ok=True)
    os.mkfifo(birds / place / "x.png")
    assert problems(birds) == [f"{place}/x.png: is no regular file (p)"]


def test_links_that_lead_nowhere_or_back_are_problems(birds):
    (birds / "train/auk/loop").symlink_to(birds / "train")
    (birds / "train/auk/gone.png").symlink_to("nothing.png")
    (birds / "train/auk/self.png").symlink_to("self.png")
    (birds / "test/emu").symlink_to("nothing")
    found = problems(birds)
    assert "test/emu: is a link to nothing" in found
    assert "train/auk/loop/auk: is a link to a folder that it lies in" in found
    assert any(line.startswith("train/auk/gone.png: is a link to nothing") for line in found)
    assert any(line.startswith("train/auk/self.png: is a link to nothing") for line in found)


def test_a_class_without_images_is_a_problem_also_if_no_class_has_any(birds):
    for name in ("auk", "owl"):
        (birds / "test" / name / "0.png").unlink()
    assert problems(birds) == ["test/auk: holds no images", "test/owl: holds no images"]


def test_names_that_cannot_be_printed_are_escaped(birds):
    bad = os.fsencode(birds / "train/auk") + b"/\xff\n.png"
    Path(os.fsdecode(bad)).write_text("?")
    assert problems(birds) == ["train/auk/\\udcff\\n.png: is no image that can be read"]


def test_the_readers_of_imagenet_and_tinyimagenet_treat_entries_alike(tmp_path, capsys):
    layouts.imagenet(tmp_path)
    wnid = tmp_path / "imagenet/train" / WNIDS[1]
    (wnid / "part").mkdir()
    first = next(wnid.glob("*.JPEG"))
    first.rename(wnid / "part" / first.name)
    (wnid / ".hidden.JPEG").write_text("?")
    (tmp_path / "imagenet/val/notes.txt").write_text("?")
    listing = imagenet.list_images(tmp_path, None, IMAGENET)
    assert (len(listing.train), listing.problems) == (15, ())
    assert listing.ignored == (
        "ignored: 1 beside the class folders of val",
        "ignored: 1 hidden (the name begins with a dot)",
    )
    os.mkfifo(wnid / "pipe.JPEG")
    with pytest.raises(UserError, match=r"pipe\.JPEG: is no regular file"):
        imagenet.load(tmp_path, None, IMAGENET)
    layouts.tinyimagenet(tmp_path, COUNTS)
    os.mkfifo(tmp_path / "tiny-imagenet-200/val/images/pipe.JPEG")
    with pytest.raises(UserError, match=r"pipe\.JPEG: is no regular file"):
        tinyimagenet.load(tmp_path, COUNTS)


def test_the_version_of_a_folder_without_subfolders_is_as_before(birds):
    for image in birds.rglob("*.png"):
        image.write_bytes(b"x" * 100)
    assert imagefolder.imagefolder_source(birds.parent, "birds", 8).version == VERSION


VERSION = 2227656298


def test_how_unusual_images_are_read_is_printed_with_their_count(birds, capsys):
    auk = birds / "train/auk"
    frames = [Image.new("L", (8, 8), k) for k in (10, 20)]
    frames[0].save(auk / "two.tif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (8, 8)).save(auk / "clear.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(auk / "deep.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (8, 8)).save(auk / "turned.jpg", exif=exif)
    source_of(birds).load(birds.parent)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("note")] == [
        "note: 1 images are grey with more than 8 bits and are scaled to 8",
        "note: 1 images have an EXIF orientation, which is ignored",
        "note: 1 images have several frames, of which the first is read",
        "note: 1 images have transparency, which is dropped",
    ]


# ---------------------------------------------------------------- contents


def source_of(birds: Path) -> Source:
    return imagefolder.imagefolder_source(birds.parent, "birds", 8)


def exchange(birds: Path) -> None:
    """Replace an image by another of the same name, size in bytes, and time of change."""
    first, second = birds / "train/auk/0.bmp", birds / "train/owl/0.bmp"
    before, content = first.stat(), second.read_bytes()
    assert first.read_bytes() != content
    first.write_bytes(content)
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first.stat().st_size == before.st_size


@pytest.fixture
def bitmaps(birds: Path) -> Path:
    """The birds as files of equal sizes."""
    for path in birds.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    return birds


def test_other_images_of_the_same_names_and_sizes_are_another_data_set(bitmaps):
    before = source_of(bitmaps)
    pixels = in_memory(before.load(bitmaps.parent)).train.pixels.clone()
    original = (bitmaps / "train/auk/0.bmp").read_bytes()
    exchange(bitmaps)
    after = source_of(bitmaps)
    assert after.version != before.version
    assert not torch.equal(in_memory(after.load(bitmaps.parent)).train.pixels, pixels)
    assert source_of(bitmaps).version == after.version
    (bitmaps / "train/auk/0.bmp").write_bytes(original)
    assert source_of(bitmaps).version == before.version
    assert torch.equal(in_memory(source_of(bitmaps).load(bitmaps.parent)).train.pixels, pixels)


def test_this_is_noticed_also_after_the_prepared_files_were_deleted(bitmaps):
    before = source_of(bitmaps)
    before.load(bitmaps.parent)
    [folder] = [path for path in (bitmaps.parent / ".prepared").iterdir() if path.is_dir()]
    shutil.rmtree(folder)
    exchange(bitmaps)
    assert source_of(bitmaps).version != before.version


def test_images_that_were_only_touched_are_the_same_data_set(bitmaps):
    before = source_of(bitmaps)
    before.load(bitmaps.parent)
    (bitmaps / "train/auk/0.bmp").touch()
    assert source_of(bitmaps).version == before.version


def test_an_interrupted_preparation_does_not_go_on_with_images_that_were_exchanged(bitmaps):
    (bitmaps / "test/owl/0.bmp").write_bytes(b"?")
    assert len(problems(bitmaps)) == 1  # the shard of the train images is decoded
    exchange(bitmaps)
    picture(bitmaps / "test/owl/0.bmp", 5, (8, 8))
    auk, owl = in_memory(source_of(bitmaps).load(bitmaps.parent)).train.pixels
    assert torch.equal(auk, owl)


def test_a_folder_with_16_bit_grey_has_another_version_than_when_it_became_white(birds):
    values = np.full((8, 8), 257 * 100, np.uint16)
    Image.fromarray(values).save(birds / "train/auk/0.png")
    listing = imagefolder.list_images(birds)
    plain = int(json_sha256([8, listing.classes, listing.train, listing.test])[:8], 16)
    assert source_of(birds).version != plain
    image = in_memory(source_of(birds).load(birds.parent)).train.pixels[0]
    assert {*image.flatten().tolist()} == {100}


def test_a_damaged_record_of_the_contents_is_named(birds):
    source_of(birds).load(birds.parent)
    [record] = (birds.parent / ".prepared").glob("*.contents.json")
    record.write_text("[]")
    with pytest.raises(UserError, match=rf"{record.name} is damaged"):
        source_of(birds)


# ---------------------------------------------------------------- prepared arrays


@pytest.mark.parametrize("name", ["train.npy", "train-labels.npy", "test.npy", "test-labels.npy"])
def test_a_flipped_bit_of_a_prepared_file_is_named_before_it_is_used(birds, name):
    source = source_of(birds)
    source.load(birds.parent)
    [path] = (birds.parent / ".prepared").glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"is damaged: {name}'s sha256 is .* Delete it"):
        source.load(birds.parent)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_flipped_bit_of_a_packed_index_is_named_before_it_is_used(tmp_path, part):
    layouts.imagenet(tmp_path)
    imagenet.load(tmp_path, None, IMAGENET)
    path = tmp_path / f".prepared/imagenet-1/{part}.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"is damaged: {part}.npy's sha256 is"):
        imagenet.load(tmp_path, None, IMAGENET)


def test_two_validation_images_of_one_name_are_a_problem(tmp_path):
    layouts.tinyimagenet(tmp_path, COUNTS)
    images = tmp_path / "tiny-imagenet-200/val/images"
    picture(images / "more/val_0.JPEG", 3)
    listing = tinyimagenet.list_images(tmp_path, COUNTS)
    assert listing.problems == (
        "val/images/val_0.JPEG: has the same name as val/images/more/val_0.JPEG",
    )


@pytest.mark.parametrize("content", [b"\xff\xfe", b"ImageId,Prediction\nval_1\n", b"a\nval_1, \n"])
def test_a_table_of_classes_that_cannot_be_read_is_one_error(tmp_path, content):
    layouts.imagenet(tmp_path)
    val = tmp_path / "imagenet/val"
    for path in [*val.glob("*/*.JPEG")]:
        path.rename(val / path.name)
    for folder in [path for path in val.iterdir() if path.is_dir()]:
        folder.rmdir()
    (tmp_path / "imagenet/LOC_val_solution.csv").write_bytes(content)
    with pytest.raises(
        UserError, match=r"LOC_val_solution\.csv(, line 2: expected| is not a text)"
    ):
        imagenet.list_images(tmp_path, None, IMAGENET)
