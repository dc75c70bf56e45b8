"""ImageNet in its usual layout and Kaggle's, and lists of its classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

from benchmark.config.errors import UserError
from benchmark.data.files import packing
from benchmark.data.files.packed import Packed
from benchmark.data.held_out import split_held_out
from benchmark.data.sets import imagenet
from benchmark.data.sets.imagenet import IMAGENET, read_class_list
from tests.data import official_layouts as layouts
from tests.data.official_layouts import IMAGENET as COUNTS
from tests.data.official_layouts import WNIDS, photo

PACKED = Path(".prepared") / "imagenet-1"


def load(root: Path, chosen: imagenet.ClassList | None = None) -> list[Packed]:
    split = imagenet.load(root, chosen, COUNTS)
    return [images for images in split if isinstance(images, Packed)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """ImageNet's usual layout: class folders of train and of validation images."""
    layouts.imagenet(tmp_path)
    return tmp_path


def copy(root: Path) -> Path:
    return root / "imagenet"


def as_kaggle(root: Path) -> None:
    """Lay the copy out as Kaggle's archive does."""
    deep = copy(root) / "ILSVRC/Data/CLS-LOC"
    deep.mkdir(parents=True)
    (copy(root) / "train").rename(deep / "train")
    rows = ["ImageId,PredictionString"]
    (deep / "val").mkdir()
    for path in sorted(copy(root).glob("val/*/*.JPEG"), reverse=True):
        rows.append(f"{path.stem},{path.parent.name} 85 1 499 272 {path.parent.name} 3 4 5 6 ")
        path.rename(deep / "val" / path.name)
    shutil.rmtree(copy(root) / "val")
    (copy(root) / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")


def contents(images: Packed) -> list[tuple[int, bytes]]:
    return [(label, images.read(i)) for i, label in enumerate(images.labels.tolist())]


def refused(root: Path) -> list[str]:
    with pytest.raises(UserError) as told:
        load(root)
    assert not (root / ".prepared").exists()
    return [line.strip() for line in str(told.value).splitlines()[1:]]


def chosen(root: Path, *wnids: str, name: str = "some") -> imagenet.ClassList:
    (root / f"{name}.txt").write_text("\n".join(wnids))
    return read_class_list(root, name)


# ---------------------------------------------------------------- the whole


def test_images_and_labels_are_those_of_torchvisions_folders(root):
    for part, images in zip(("train", "val"), load(root), strict=True):
        folder = ImageFolder(str(copy(root) / part))
        expected = [(label, Path(path).read_bytes()) for path, label in folder.samples]
        assert sorted(contents(images)) == sorted(expected)


def test_images_are_dealt_like_cards_so_that_a_limit_keeps_all_classes(root):
    train, test = load(root)
    assert train.labels.tolist() == [0, 1, 2, 3] * 3 + [1, 3] + [3]
    assert test.labels.tolist() == [0, 1, 2, 3] * 2
    first = (copy(root) / "train" / WNIDS[2] / f"{WNIDS[2]}_0.JPEG").read_bytes()
    assert train.read(2) == first


def test_kaggles_archive_is_the_same_data_set(root):
    usual = [contents(images) for images in load(root)]
    shutil.rmtree(root / ".prepared")
    as_kaggle(root)
    assert [contents(images) for images in load(root)] == usual


def test_a_linked_folder_is_as_good(root):
    copy(root).rename(root / "elsewhere")
    copy(root).symlink_to(root / "elsewhere")
    assert len(load(root)[0].labels) == 15


def test_what_is_packed_needs_no_images_and_has_checksums(root):
    source = imagenet.imagenet_source(root, counts=COUNTS)
    assert source.presence(root) == ("imagenet", (), "to be packed once, about 150 GB")
    source.load(root)
    shutil.rmtree(copy(root))
    train, test = source.load(root)
    assert (len(train.labels), len(test.labels)) == (15, 8)
    assert source.presence(root) == (str(PACKED), (), "")
    source.verify(root)
    [path] = (root / PACKED).glob("train-*.bin")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="'s sha256 is"):
        source.verify(root)


def test_all_that_is_wrong_is_named_before_anything_is_decoded(root, monkeypatch):
    monkeypatch.setattr(packing, "check_image", lambda *_: pytest.fail("decoded"))
    shutil.rmtree(copy(root) / "train" / WNIDS[1])
    (copy(root) / "train/extra").mkdir()
    (copy(root) / "train" / WNIDS[2] / f"{WNIDS[2]}_0.JPEG").unlink()
    next((copy(root) / "val" / WNIDS[3]).iterdir()).unlink()
    (copy(root) / "train" / WNIDS[3] / "notes.txt").write_text("no image")
    assert refused(root) == [
        "train/extra: is no wnid",
        f"val/{WNIDS[1]}: is no class of train",
        "train/extra: 0 images, 3 to 5 expected",
        f"train/{WNIDS[2]}: 2 images, 3 to 5 expected",
        "val/extra: 0 images, 2 expected",
        f"val/{WNIDS[3]}: 1 images, 2 expected",
        "train: 10 images, 15 expected",
    ]


def test_a_class_too_few_and_images_too_few_in_all_are_named(root):
    one = f"{WNIDS[3]}_0.JPEG"
    (copy(root) / "train" / WNIDS[3] / one).unlink()
    assert refused(root) == ["train: 14 images, 15 expected"]
    shutil.rmtree(copy(root) / "train" / WNIDS[3])
    assert refused(root)[0] == "train: 3 class folders, 4 expected"


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("train", "train: is missing or holds no class folders"),
        ("val", "val: is missing or holds no class folders"),
    ],
)
def test_a_split_that_is_missing_is_named(root, gone, said):
    shutil.rmtree(copy(root) / gone)
    assert refused(root) == [said]
    assert imagenet.presence(root).missing == (gone,)


def test_of_kaggles_archive_too_what_is_wrong_is_named(root):
    as_kaggle(root)
    table = copy(root) / "LOC_val_solution.csv"
    header, *rows = table.read_text().splitlines()
    name, wnid = rows[0].split()[0].split(",")
    deep = copy(root) / "ILSVRC/Data/CLS-LOC"
    (deep / "val" / f"{name}.JPEG").unlink()
    photo(deep / "val" / "ILSVRC2012_val_00000099.JPEG", 9)
    other = rows[-1].replace(rows[-1].split()[0].split(",")[1], "n99999999")
    table.write_text("\n".join([header, *rows[:-1], other]))
    problems = refused(root)
    assert problems[:3] == [
        f"val/{other.split(',')[0]}: is of n99999999, no class of train",
        f"val/{name}: is missing, LOC_val_solution.csv lists it",
        "val/ILSVRC2012_val_00000099: is not in LOC_val_solution.csv",
    ]
    assert f"val/{wnid}: 1 images, 2 expected" in problems
    table.unlink()
    said = "val: its images lie in one folder, and LOC_val_solution.csv is not beside it"
    assert refused(root) == [said]


def test_without_a_copy_it_is_said_where_to_get_one_and_nothing_is_left_behind(tmp_path):
    with pytest.raises(
        UserError, match=r"not at .*imagenet: download .* from https://.*--data-root"
    ):
        imagenet.load(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert imagenet.presence(tmp_path).missing == ("train", "val")


def test_a_part_of_train_is_held_out_as_of_any_other_set(root):
    rest, validation = split_held_out(imagenet.load(root, counts=COUNTS).train, 4, 4)
    assert sorted(validation.labels.tolist()) == [0, 1, 2, 3]
    assert len(rest.labels) == 11


# ---------------------------------------------------------------- lists of classes


def test_the_classes_of_a_list_are_numbered_in_the_order_of_their_wnids(root):
    some = chosen(root, WNIDS[3], WNIDS[1])
    train, test = load(root, some)
    assert train.labels.tolist() == [0, 1] * 4 + [1]
    assert test.labels.tolist() == [0, 1] * 2
    assert train.read(1) == (copy(root) / "train" / WNIDS[3] / f"{WNIDS[3]}_0.JPEG").read_bytes()


def test_where_the_whole_is_packed_a_list_takes_its_images_from_there(root):
    some = chosen(root, WNIDS[3], WNIDS[0])
    apart = [contents(images) for images in load(root, some)]
    shutil.rmtree(root / ".prepared")
    load(root)
    shutil.rmtree(copy(root))
    assert [contents(images) for images in load(root, some)] == apart
    assert [path.name for path in (root / ".prepared").iterdir()] == ["imagenet-1"]
    assert imagenet.presence(root, some).location == str(PACKED)


@pytest.mark.parametrize("kaggle", [False, True])
def test_where_only_the_classes_of_a_list_are_there_they_are_packed(root, kaggle):
    some = chosen(root, *WNIDS[:2])
    for wnid in WNIDS[2:]:
        shutil.rmtree(copy(root) / "train" / wnid)
    if kaggle:
        as_kaggle(root)
    train, test = load(root, some)
    assert (len(train.labels), len(test.labels)) == (7, 4)
    [folder] = (root / ".prepared").iterdir()
    assert folder.name == f"imagenet-some-{imagenet.source_version(some)}"


def test_a_class_of_a_list_that_is_not_there_is_named(root):
    some = chosen(root, WNIDS[0], "n09999999")
    with pytest.raises(UserError, match="train/n09999999: is missing, some names it"):
        load(root, some)
    load(root)
    with pytest.raises(UserError, match="n09999999 is no class of ImageNet's 1000"):
        load(root, some)


def test_a_lists_version_follows_from_its_classes_alone(root):
    one = imagenet.source_version(chosen(root, *WNIDS[:2]))
    text = f"# two of them\n\n{WNIDS[1]} kit fox\n{WNIDS[0]}\n"
    (root / "other").write_text(text)
    assert imagenet.source_version(read_class_list(root, "other")) == one
    assert imagenet.source_version(chosen(root, *WNIDS[1:3])) != one


def test_imagenet100_comes_along_and_a_file_of_that_name_goes_before_it(tmp_path):
    source = imagenet.imagenet_source(tmp_path, "imagenet100")
    assert (source.name, source.classes) == ("imagenet@imagenet100", 100)
    assert "n02869837" in read_class_list(tmp_path, "imagenet100").wnids
    own = chosen(tmp_path, *WNIDS, name="imagenet100")
    assert own.wnids == tuple(WNIDS)
    assert imagenet.imagenet_source(tmp_path, "imagenet100").version != source.version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found 0"),
        ("n01440764\n", "found 1"),
        ("n01440764\nn01440764\nn02119789", "found 3, of which 2 are different"),
        ("n01440764\ntench\n", "'tench' is not a wnid"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, text, said):
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(
        UserError, match=rf"mine\.txt: expected two or more different wnids.*{said}"
    ):
        imagenet.imagenet_source(tmp_path, "mine")


@pytest.mark.parametrize("name", ["imagenet1000", "../mine", ""])
def test_a_list_that_is_not_there_is_named(tmp_path, name):
    (tmp_path / "mine.txt").write_text("\n".join(WNIDS))
    (tmp_path / "below").mkdir()
    with pytest.raises(UserError, match="there is no list of classes"):
        imagenet.imagenet_source(tmp_path / "below", name)


# ---------------------------------------------------------------- the source


def test_imagenet_is_what_the_field_knows_it_as():
    assert (IMAGENET.name, IMAGENET.version, IMAGENET.classes) == ("imagenet", 1, 1000)
    assert (IMAGENET.size, IMAGENET.crop, IMAGENET.decoder) == (224, "resized", "pillow")
    assert imagenet.OFFICIAL == (1000, 1_281_167, 732, 1300, 50)


def test_images_are_decoded_in_passing(root):
    train, _ = load(root)
    boxes = np.stack([np.zeros(15), np.zeros(15), train.heights, train.widths], 1).astype(np.int64)
    [batch] = train.crops([(np.arange(15), boxes)], 8)
    assert (batch.shape, batch.dtype) == ((15, 3, 8, 8), torch.uint8)
