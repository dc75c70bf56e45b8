"""ImageNet (ILSVRC-2012): 1000 classes, 1,281,167 train and 50,000 validation images.

The validation images are the test part, as in the literature. The images stay JPEGs: they are
packed into big files once and decoded during training. `imagenet@LIST` is the subset with the
classes in a list of wnids, such as ImageNet-100. ImageNet's terms apply: research and teaching
only, no commercial use. Nothing is downloaded: users unpack the archives themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.recipe import as_folder_name
from benchmark.data.files.checksums import json_sha256
from benchmark.data.files.class_folders import (
    Listing,
    Scan,
    class_folders,
    interleave_classes,
    list_image_files,
)
from benchmark.data.files.packed import is_packed, open_packed, read_packed_manifest, verify_packed
from benchmark.data.files.packing import pack
from benchmark.data.files.prepared import PARTS
from benchmark.data.files.prepared_path import prepared_folder, show_path
from benchmark.data.sets.imagenet_layout import (
    ByClass,
    ExpectedCounts,
    Labels,
    count_problems,
    index_by_name,
    label_classes,
    list_by_class,
    match_table,
    missing_parts,
    read_lines,
    require_folder,
)
from benchmark.data.source import Presence, Source, Split, Streamed

NAME, VERSION, SIZE, FOLDER = "imagenet", 1, 224, "imagenet"
KAGGLE_FOLDER = "ILSVRC/Data/CLS-LOC"
VALIDATION_TABLE = "LOC_val_solution.csv"
WNID = re.compile(r"n\d{8}")
REMEDY = (
    "download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
    "https://image-net.org/download.php, under its terms, and unpack them there as "
    "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"
)
OFFICIAL = ExpectedCounts(
    classes=1000, train_total=1_281_167, train_min=732, train_max=1300, test=50
)


class ClassList(NamedTuple):
    """A list of some of ImageNet's classes."""

    name: str
    wnids: tuple[str, ...]
    """Sorted, which is the order of the class numbers."""


def imagenet_source(
    root: Path, list_name: str | None = None, counts: ExpectedCounts = OFFICIAL
) -> Source:
    """Return ImageNet, or its subset with the classes in a list.

    Raises ``UserError`` if there is no such list or it cannot be used.
    """
    chosen = None if list_name is None else read_class_list(root, list_name)
    return Source(
        name=NAME if chosen is None else f"{NAME}@{chosen.name}",
        version=source_version(chosen),
        title="ImageNet" if chosen is None else f"ImageNet, {chosen.name}",
        classes=counts.classes if chosen is None else len(chosen.wnids),
        size=SIZE,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        padding=0,
        flip=True,
        crop="resized",
        decoder="pillow",
        load=partial(load, chosen=chosen, counts=counts),
        train_images=counts.train_total if chosen is None else None,
        presence=partial(presence, chosen=chosen),
        verify=partial(verify, chosen=chosen),
        class_names=partial(class_names, chosen=chosen),
    )


def source_version(chosen: ClassList | None) -> int:
    """Return the data set's version; a list's follows from its classes."""
    return VERSION if chosen is None else int(json_sha256([VERSION, chosen.wnids])[:8], 16)


def read_class_list(root: Path, name: str) -> ClassList:
    """Read the list `<name>` or `<name>.txt` under the data root or beside this module.

    Each line begins with a wnid; the rest of the line and lines that begin with # are comments.
    Raises ``UserError`` if there is no such list or it cannot be used.
    """
    names = (name, f"{name}.txt")
    candidates = [folder / file for folder in (root, Path(__file__).parent) for file in names]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None or Path(name).name != name:
        raise UserError(
            f"{NAME}@{name}: there is no list of classes {name} or {name}.txt in {root.resolve()}"
        )
    lines = read_lines(path)
    words = [line.split()[0] for line in lines if line.strip() and line.lstrip()[0] != "#"]
    invalid = [word for word in words if not WNID.fullmatch(word)]
    if invalid or len(words) != len({*words}) or len(words) < 2:
        raise UserError(
            f"{path}: expected two or more different wnids such as n01440764, one a line; found "
            f"{len(words)}, of which {len({*words})} are different"
            + (f", and '{invalid[0]}' is not a wnid" if invalid else "")
        )
    return ClassList(name, tuple(sorted(words)))


# ---------------------------------------------------------------- packed images


def load(
    root: Path, chosen: ClassList | None = None, counts: ExpectedCounts = OFFICIAL
) -> Split[Streamed]:
    """Open the packed images; the first time, pack those in ``root/imagenet``."""
    folder = packed_folder(root, chosen)
    pack(folder, partial(list_images, root, chosen, counts))
    train, test = (open_packed(folder, part) for part in PARTS)
    if chosen is None or folder != packed_folder(root, None):
        return Split(train, test)
    label_of = label_classes(read_packed_manifest(folder)["classes"])
    unknown = [wnid for wnid in chosen.wnids if wnid not in label_of]
    if unknown:
        raise UserError(f"{chosen.name}: {unknown[0]} is no class of ImageNet's 1000")
    labels = [label_of[wnid] for wnid in chosen.wnids]
    return Split(train.of_classes(labels), test.of_classes(labels))


def class_names(root: Path, chosen: ClassList | None = None) -> Sequence[str] | None:
    """Return the wnids of a list, or of the packed images; None where there are none."""
    if chosen is not None:
        return chosen.wnids
    folder = packed_folder(root, None)
    return read_packed_manifest(folder)["classes"] if is_packed(folder) else None


def packed_folder(root: Path, chosen: ClassList | None) -> Path:
    """Return the folder of the packed images, which may not exist yet.

    A list uses the packed images of all of ImageNet if they exist, and else has its own.
    """
    whole = prepared_folder(root, NAME, VERSION)
    if chosen is None or is_packed(whole):
        return whole
    return prepared_folder(root, as_folder_name(f"{NAME}@{chosen.name}"), source_version(chosen))


def verify(root: Path, chosen: ClassList | None = None) -> None:
    """Compare the packed files with their checksums, which reads all of them."""
    verify_packed(packed_folder(root, chosen))


def presence(root: Path, chosen: ClassList | None = None) -> Presence:
    """Return what exists: the packed images, or else the unpacked archives."""
    folder = packed_folder(root, chosen)
    if is_packed(folder):
        return Presence(show_path(folder, root))
    unpacked = unpacked_folder(root)
    missing = missing_parts(unpacked)
    gigabytes = 150 if chosen is None else max(1, round(0.13 * len(chosen.wnids)))
    todo = REMEDY if missing else f"to be packed once, about {gigabytes} GB"
    return Presence(str(unpacked.relative_to(root)), missing, todo)


# ---------------------------------------------------------------- unpacked archives


def unpacked_folder(root: Path) -> Path:
    """Return the folder that holds train and val; in Kaggle's archive it is three levels down."""
    kaggle = root / FOLDER / KAGGLE_FOLDER
    return kaggle if kaggle.is_dir() else root / FOLDER


def list_images(root: Path, chosen: ClassList | None, counts: ExpectedCounts) -> Listing:
    """List the images of an unpacked copy, and every difference from the official one.

    Raises ``UserError`` if there is no copy.
    """
    require_folder(root / FOLDER, "ImageNet", REMEDY)
    folder = unpacked_folder(root)
    scan = Scan()
    existing = class_folders(folder / "train", scan)
    labels = label_classes(existing if chosen is None else chosen.wnids)
    train = list_by_class(folder, "train", labels, scan)
    test, problems = list_validation_images(root, labels, scan, whole=chosen is None)
    if any(train):
        problems += count_problems("train", labels, train, counts.train_min, counts.train_max)
    if any(test):
        problems += count_problems("val", labels, test, counts.test, counts.test)
    total = sum(map(len, train))
    if chosen is None and len(existing) == counts.classes and total != counts.train_total:
        problems.append(f"train: {total:,} images, {counts.train_total:,} expected")
    problems = [*train_folder_problems(existing, chosen, counts), *problems, *scan.problems]
    train_files, test_files = (tuple(interleave_classes(part)) for part in (train, test))
    ignored = scan.ignored_lines()
    return Listing(folder, tuple(labels), train_files, test_files, tuple(problems), ignored)


def train_folder_problems(
    existing: Sequence[str], chosen: ClassList | None, counts: ExpectedCounts
) -> Iterator[str]:
    """Compare the train folders with the list of classes, or with their official number."""
    if not existing:
        yield "train: is missing or holds no class folders"
    elif chosen is not None:
        missing = (wnid for wnid in chosen.wnids if wnid not in existing)
        yield from (f"train/{wnid}: is missing, {chosen.name} names it" for wnid in missing)
    else:
        yield from (f"train/{name}: is no wnid" for name in existing if not WNID.fullmatch(name))
        if len(existing) != counts.classes:
            yield f"train: {len(existing):,} class folders, {counts.classes:,} expected"


def list_validation_images(
    root: Path, labels: Labels, scan: Scan, *, whole: bool
) -> tuple[ByClass, list[str]]:
    """Return the validation images by class, and what is wrong with them.

    They lie in class folders, or as in Kaggle's archive in one folder with a table beside it.
    ``whole``: images of classes without a label are a problem; else they are ignored.
    """
    folder = unpacked_folder(root)
    names = class_folders(folder / "val")
    if names:
        class_folders(folder / "val", scan)
        unknown = [name for name in names if name not in labels] if whole and labels else []
        problems = [f"val/{name}: is no class of train" for name in unknown]
        return list_by_class(folder, "val", labels, scan), problems
    files = list_image_files(folder, "val", 0, scan) if (folder / "val").is_dir() else []
    if not files:
        return [], ["val: is missing or holds no class folders"]
    tables = (parent / VALIDATION_TABLE for parent in (folder, root / FOLDER))
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        return [], [f"val: its images lie in one folder, and {VALIDATION_TABLE} is not beside it"]
    by_name, doubled = index_by_name(files, suffix=False)
    match = match_table(read_table(table), by_name, labels)
    problems = [
        *doubled,
        *(f"val/{name}: is missing, {VALIDATION_TABLE} lists it" for name in match.missing),
    ]
    if whole:
        problems = [
            *(f"val/{k}: is of {v}, no class of train" for k, v in match.unknown_classes.items()),
            *problems,
            *(f"val/{name}: is not in {VALIDATION_TABLE}" for name in match.unlisted),
        ]
    return match.by_class, problems


def read_table(path: Path) -> dict[str, str]:
    """Read names and wnids from rows like `ILSVRC2012_val_00048981,n03995372 85 1 499 272`.

    Raises ``UserError`` for a row of another form.
    """
    wnid_of = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        name, comma, boxes = line.partition(",")
        if line.strip() and not (name and comma and boxes.split()):
            raise UserError(f"{path}, line {number}: expected NAME,WNID ..., got {line[:80]!r}")
        if line.strip():
            wnid_of[name] = boxes.split()[0]
    return wnid_of


IMAGENET = imagenet_source(Path())
