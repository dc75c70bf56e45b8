"""TinyImageNet (Stanford CS231n): 200 classes, 500 train and 50 validation images each, of 64 px.

The validation images are the test part, as in the field: the test images' labels were never given
out. The images are ImageNet's, so ImageNet's terms hold: research and teaching, not commerce; and
nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.data.files.class_folders import (
    Listing,
    Member,
    class_folders,
    deal,
    images,
    of_class,
)
from benchmark.data.files.prepared import Prepared, place
from benchmark.data.source import Images, Presence, Source, Split

NAME, VERSION, SIZE, FOLDER = "tinyimagenet", 1, 64, "tiny-imagenet-200"
ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
REMEDY = f"unpack {ARCHIVE} (248 MB, md5 {MD5}) there, under ImageNet's terms"


class Counts(NamedTuple):
    """What a complete copy has."""

    classes: int
    train: int
    """Images of each class."""
    test: int
    """Likewise."""


OFFICIAL = Counts(200, 500, 50)
KNOWN = {
    "train.npy": "8437ee5bb79c7085e3fd2b64063a9618132c3168863ae29b20fe79e8fd79dfcf",
    "test.npy": "0be953015ec2e10d5f9aeddeb9cce035b39647bf7968517f790bd62e1006ff5d",
}
"""Of a complete copy, by Pillow 13.0.0 with libjpeg-turbo 3.2.0."""


def load(root: Path, counts: Counts = OFFICIAL) -> Split[Images]:
    """Open the prepared images; the first time decode ``root/tiny-imagenet-200``."""
    return prepared(root).load(partial(find, root, counts))


def prepared(root: Path) -> Prepared:
    """Return where the decoded images are."""
    return Prepared(place(root, NAME, VERSION), SIZE)


def verify(root: Path) -> None:
    """Check what is prepared, and say so where it is sound but not as elsewhere."""
    here = prepared(root)
    here.verify()
    manifest = here.read_manifest()
    if not KNOWN.items() <= manifest["sha256"].items():
        print(
            f"note: the pixels in {here.folder} are not, to the last bit, those that we know: the "
            f"files are another copy's, or their decoder ({manifest['decoder']}) does otherwise",
            flush=True,
        )


def look(root: Path) -> Presence:
    """Say what is there."""
    if prepared(root).done():
        return Presence(str(prepared(root).folder.relative_to(root)))
    missing = [name for name in ("train", "val") if not (root / FOLDER / name).is_dir()]
    todo = REMEDY if missing else "to be decoded once, 1.4 GB"
    return Presence(FOLDER, tuple(missing), todo)


def find(root: Path, counts: Counts) -> Listing:
    """List the images of a copy, and all that differs from the official one."""
    folder = root / FOLDER
    if not folder.is_dir():
        raise UserError(
            f"TinyImageNet is not at {folder.resolve()}: {REMEDY}, or say where it is with "
            "--data-root or the environment variable KD_DATA."
        )
    names = class_folders(folder / "train")
    label = {name: i for i, name in enumerate(names)}
    train = [of_class(folder, f"train/{name}", i) for name, i in label.items()]
    test, strangers, problems = validation(folder, label)
    problems = [
        *wrong_classes(folder, names, strangers, counts),
        *problems,
        *wrong_counts("train", names, train, counts.train),
        *wrong_counts("val", names, test, counts.test),
    ]
    return Listing(folder, tuple(names), (*deal(train),), (*deal(test),), tuple(problems))


def wrong_classes(
    folder: Path, names: list[str], strangers: set[str], counts: Counts
) -> Iterator[str]:
    """Compare the class folders with the list of ids, and with those that only validation has."""
    path = folder / "wnids.txt"
    listed = path.read_text().split() if path.is_file() else []
    if 0 < len(listed) < len(names):
        print(
            f"{path} lists {len(listed)} classes, but there are {len(names)} class folders (it is "
            "known to be cut in a public copy); the folders count",
            flush=True,
        )
        listed = []
    if not names:
        yield "train: is missing or holds no class folders"
        return
    for name in sorted(strangers.union(listed).difference(names)):
        yield f"train/{name}: is missing, {'wnids.txt' if name in listed else 'val'} names it"
    for name in sorted(set(names) - set(listed)) if listed else ():
        yield f"train/{name}: is no class of wnids.txt"
    if len(names) != counts.classes:
        yield f"train: {len(names)} class folders, {counts.classes} expected"


def validation(
    folder: Path, label: dict[str, int]
) -> tuple[list[list[Member]], set[str], list[str]]:
    """List the validation images by class, the classes that train has not, and other problems.

    Officially they lie in one folder beside a table of their classes; many copies have been
    sorted into class folders, under the same file names, and are as good.
    """
    table = folder / "val" / "val_annotations.txt"
    if not table.is_file():
        return sorted_copy(folder, label)
    if not (folder / "val" / "images").is_dir():
        return [], set(), ["val/images: is missing"]
    found = {Path(m.file).name: m for m in images(folder, "val/images", 0)}
    by_class: list[list[Member]] = [[] for _ in label]
    strangers: set[str] = set()
    problems = []
    told = dict(line.split("\t")[:2] for line in table.read_text().splitlines() if "\t" in line)
    for name, wnid in sorted(told.items()):
        if name not in found:
            problems.append(f"val/images/{name}: is missing, val_annotations.txt lists it")
        elif wnid not in label:
            strangers.add(wnid)
        else:
            by_class[label[wnid]].append(found[name]._replace(label=label[wnid]))
    problems += [f"val/images/{name}: has no annotation" for name in sorted(found.keys() - told)]
    return by_class, strangers, problems


def sorted_copy(
    folder: Path, label: dict[str, int]
) -> tuple[list[list[Member]], set[str], list[str]]:
    """Do so for validation images that somebody has sorted into class folders."""
    names = class_folders(folder / "val")
    if not names or names == ["images"]:
        return [], set(), ["val: neither val_annotations.txt nor class folders are there"]
    by_class = [
        of_class(folder, f"val/{name}", i) if name in names else [] for name, i in label.items()
    ]
    return by_class, set(names).difference(label), []


def wrong_counts(
    part: str, names: list[str], by_class: list[list[Member]], expected: int
) -> Iterator[str]:
    """Name the classes that have more or fewer images than they must."""
    for name, members in zip(names, by_class, strict=False):  # none where the part is missing
        if len(members) != expected:
            yield f"{part}, {name}: {len(members)} images, {expected} expected"


TINY_IMAGENET = Source(
    name=NAME,
    version=VERSION,
    title="TinyImageNet, 64 px",
    classes=OFFICIAL.classes,
    size=SIZE,
    mean=(0.4802, 0.4481, 0.3975),
    # The field's, mdistiller's too: the mean of images' own; all pixels' is .276, .269, .282.
    std=(0.2302, 0.2265, 0.2262),
    padding=8,  # an eighth of the width, as on CIFAR; usual in public code, beside 4
    flip=True,
    load=load,
    look=look,
    verify=verify,
)
