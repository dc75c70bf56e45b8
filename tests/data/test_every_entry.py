"""Every entry of a folder of images is read, ignored with its count, or named as a problem."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from benchmark.config.errors import UserError
from benchmark.data.sets import imagefolder, imagenet, tinyimagenet
from tests.data import official_layouts as layouts
from tests.data.official_layouts import IMAGENET, WNIDS, picture
from tests.data.tiny_imagenet import COUNTS


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
