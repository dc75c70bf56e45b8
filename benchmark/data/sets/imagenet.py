"""ImageNet (ILSVRC-2012): 1000 classes, 1,281,167 train and 50,000 validation images.

The validation images are the test part, as in the field. They stay JPEGs, packed once, and are
decoded in passing. ImageNet's terms hold, research and teaching, not commerce; nothing is
downloaded here. A list of classes makes a smaller set of it, as ImageNet-100.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.recipe import filed
from benchmark.data.files import packed
from benchmark.data.files.class_folders import (
    Listing,
    Member,
    class_folders,
    deal,
    images,
    of_class,
)
from benchmark.data.files.packed import open_packed, read_manifest
from benchmark.data.files.packing import pack
from benchmark.data.files.prepared import PARTS, digest, place
from benchmark.data.source import Presence, Source, Split, Streamed

NAME, VERSION, SIZE, FOLDER = "imagenet", 1, 224, "imagenet"
KAGGLE = "ILSVRC/Data/CLS-LOC"
TABLE = "LOC_val_solution.csv"
WNID = re.compile(r"n\d{8}")
REMEDY = (
    "unpack https://image-net.org/download.php there, under its terms, as train/<wnid>/*.JPEG and "
    "val/<wnid>/*.JPEG"
)


class Counts(NamedTuple):
    """What a complete copy has."""

    classes: int
    train: int
    """Images of all classes."""
    least: int
    most: int
    """Train images of a class."""
    test: int
    """Test images of each class."""


OFFICIAL = Counts(classes=1000, train=1_281_167, least=732, most=1300, test=50)


class Chosen(NamedTuple):
    """A list of classes."""

    name: str
    wnids: tuple[str, ...]
    """Sorted, as classes are numbered."""


def source(root: Path, list_name: str | None = None, counts: Counts = OFFICIAL) -> Source:
    """Return ImageNet, or of it the classes that a list under the data root or beside this has.

    Raises ``UserError`` where there is no such list or it cannot be used.
    """
    chosen = None if list_name is None else read_list(root, list_name)
    return Source(
        name=NAME if chosen is None else f"{NAME}@{chosen.name}",
        version=version(chosen),
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
        look=partial(look, chosen=chosen),
        verify=partial(verify, chosen=chosen),
    )


def version(chosen: Chosen | None) -> int:
    """Return a version that changes with the classes of a list."""
    return VERSION if chosen is None else int(digest([VERSION, chosen.wnids])[:8], 16)


def read_list(root: Path, name: str) -> Chosen:
    """Read `<name>` or `<name>.txt`: a wnid a line; what follows one is a remark, as after a #."""
    files = (name, f"{name}.txt")
    places = [folder / file for folder in (root, Path(__file__).parent) for file in files]
    path = next((place for place in places if place.is_file()), None)
    if path is None or Path(name).name != name:
        raise UserError(
            f"{NAME}@{name}: there is no list of classes {name} or {name}.txt in {root.resolve()}"
        )
    lines = path.read_text().splitlines()
    words = [line.split()[0] for line in lines if line.strip() and line.lstrip()[0] != "#"]
    strange = [word for word in words if not WNID.fullmatch(word)]
    if strange or len(words) != len({*words}) or len(words) < 2:
        raise UserError(
            f"{path}: expected two or more wnids such as n01440764, one a line, each once; "
            f"there are {len(words)}, {len({*words})} different ones"
            + (f", and '{strange[0]}' is none" if strange else "")
        )
    return Chosen(name, tuple(sorted(words)))


# ---------------------------------------------------------------- what is packed


def load(root: Path, chosen: Chosen | None = None, counts: Counts = OFFICIAL) -> Split[Streamed]:
    """Open the packed images; the first time pack ``root/imagenet``."""
    folder = home(root, chosen)
    pack(folder, partial(find, root, chosen, counts))
    train, test = (open_packed(folder, part) for part in PARTS)
    if chosen is None or folder != home(root, None):
        return Split(train, test)
    numbers = {wnid: i for i, wnid in enumerate(read_manifest(folder)["classes"])}
    strange = [wnid for wnid in chosen.wnids if wnid not in numbers]
    if strange:
        raise UserError(f"{chosen.name}: {strange[0]} is no class of ImageNet's 1000")
    labels = [numbers[wnid] for wnid in chosen.wnids]
    return Split(train.of_classes(labels), test.of_classes(labels))


def home(root: Path, chosen: Chosen | None) -> Path:
    """Return where the packed images are or come to be: one copy, where the whole is packed."""
    whole = place(root, NAME, VERSION)
    if chosen is None or packed.done(whole):
        return whole
    return place(root, filed(f"{NAME}@{chosen.name}"), version(chosen))


def verify(root: Path, chosen: Chosen | None = None) -> None:
    """Compare what is packed with its checksums: all of it is read."""
    packed.verify(home(root, chosen))


def look(root: Path, chosen: Chosen | None = None) -> Presence:
    """Say what is there."""
    folder = home(root, chosen)
    if packed.done(folder):
        return Presence(str(folder.relative_to(root)))
    copy = layout(root)
    missing = [name for name in ("train", "val") if not (copy / name).is_dir()]
    size = 150 if chosen is None else max(1, round(0.13 * len(chosen.wnids)))
    todo = REMEDY if missing else f"to be packed once, about {size} GB"
    return Presence(str(copy.relative_to(root)), tuple(missing), todo)


# ---------------------------------------------------------------- what is unpacked


def layout(root: Path) -> Path:
    """Return where train and val are: Kaggle's archive has them three folders down."""
    kaggle = root / FOLDER / KAGGLE
    return kaggle if kaggle.is_dir() else root / FOLDER


def find(root: Path, chosen: Chosen | None, counts: Counts) -> Listing:
    """List the images of a copy, and all that differs from the official one."""
    if not (root / FOLDER).is_dir():
        raise UserError(
            f"ImageNet is not at {(root / FOLDER).resolve()}: {REMEDY}, or say where it is with "
            "--data-root or the environment variable KD_DATA."
        )
    folder = layout(root)
    there = class_folders(folder / "train")
    wnids = tuple(there) if chosen is None else chosen.wnids
    label = {wnid: i for i, wnid in enumerate(wnids)}
    train = [of_class(folder, f"train/{w}", i) if w in there else [] for w, i in label.items()]
    test, problems = validation(root, label, whole=chosen is None)
    if any(train):
        problems += wrong_counts("train", label, train, counts.least, counts.most)
    if any(test):
        problems += wrong_counts("val", label, test, counts.test, counts.test)
    total = sum(map(len, train))
    if chosen is None and len(there) == counts.classes and total != counts.train:
        problems.append(f"train: {total:,} images, {counts.train:,} expected")
    problems = [*wrong_classes(there, chosen, counts), *problems]
    return Listing(folder, wnids, (*deal(train),), (*deal(test),), tuple(problems))


def wrong_classes(there: list[str], chosen: Chosen | None, counts: Counts) -> Iterator[str]:
    """Compare the class folders with what they must be."""
    if not there:
        yield "train: is missing or holds no class folders"
    elif chosen is not None:
        missing = (wnid for wnid in chosen.wnids if wnid not in there)
        yield from (f"train/{wnid}: is missing, {chosen.name} names it" for wnid in missing)
    else:
        yield from (f"train/{name}: is no wnid" for name in there if not WNID.fullmatch(name))
        if len(there) != counts.classes:
            yield f"train: {len(there):,} class folders, {counts.classes:,} expected"


def wrong_counts(
    part: str, label: dict[str, int], by_class: list[list[Member]], least: int, most: int
) -> Iterator[str]:
    """Name the classes that have more or fewer images than they must."""
    expected = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    for wnid, members in zip(label, by_class, strict=True):
        if not least <= len(members) <= most:
            yield f"{part}/{wnid}: {len(members):,} images, {expected} expected"


def validation(
    root: Path, label: dict[str, int], *, whole: bool
) -> tuple[list[list[Member]], list[str]]:
    """List the validation images by class, and what is wrong with them.

    Usually they have been sorted into class folders; Kaggle's archive has them in one folder, and
    a table of their classes beside it. ``whole``: other classes than those of ``label`` are wrong.
    """
    folder = layout(root)
    names = class_folders(folder / "val")
    if names:
        by_class = [
            of_class(folder, f"val/{wnid}", i) if wnid in names else [] for wnid, i in label.items()
        ]
        strangers = [name for name in names if name not in label] if whole and label else []
        return by_class, [f"val/{name}: is no class of train" for name in strangers]
    flat = images(folder, "val", 0) if (folder / "val").is_dir() else []
    tables = [place / TABLE for place in (folder, root / FOLDER) if (place / TABLE).is_file()]
    if not flat:
        return [], ["val: is missing or holds no class folders"]
    if not tables:
        return [], [f"val: its images lie in one folder, and {TABLE} is not beside it"]
    return by_table(tables[0], flat, label, whole=whole)


def by_table(
    table: Path, flat: list[Member], label: dict[str, int], *, whole: bool
) -> tuple[list[list[Member]], list[str]]:
    """Sort validation images by a table, as in `ILSVRC2012_val_00048981,n03995372 85 1 499 272`."""
    rows = [line.split(",") for line in table.read_text().splitlines()[1:] if line.strip()]
    told = {name: boxes.split()[0] for name, boxes in rows}
    found = {Path(member.file).stem: member for member in flat}
    by_class: list[list[Member]] = [[] for _ in label]
    problems = []
    for name, wnid in sorted(told.items()):
        if wnid not in label:
            problems += [f"val/{name}: is of {wnid}, no class of train"] if whole else []
        elif name not in found:
            problems.append(f"val/{name}: is missing, {TABLE} lists it")
        else:
            by_class[label[wnid]].append(found[name]._replace(label=label[wnid]))
    unknown = sorted(found.keys() - told.keys()) if whole else []
    return by_class, [*problems, *(f"val/{name}: is not in {TABLE}" for name in unknown)]


IMAGENET = source(Path())
