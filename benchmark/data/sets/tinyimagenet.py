"""TinyImageNet (Stanford CS231n): 200 classes, 100,000 train and 10,000 validation images, 64x64.

The validation images are the test part, as in the literature, since the labels of the official test
images were never published. The images come from ImageNet, so ImageNet's terms apply: research and
teaching only, no commercial use. Nothing is downloaded: users unpack the archive themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmark.data.files.class_folders import (
    Listing,
    Scan,
    class_folders,
    interleave_classes,
    list_image_files,
)
from benchmark.data.files.prepared import Prepared
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
from benchmark.data.source import Images, Presence, Source, Split

NAME, VERSION, SIZE, FOLDER = "tinyimagenet", 1, 64, "tiny-imagenet-200"
ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
REMEDY = f"unpack {ARCHIVE} (248 MB, md5 {MD5}) there, under ImageNet's terms"
OFFICIAL = ExpectedCounts(classes=200, train_total=100_000, train_min=500, train_max=500, test=50)
REFERENCE_SHA256 = {
    "train.npy": "8437ee5bb79c7085e3fd2b64063a9618132c3168863ae29b20fe79e8fd79dfcf",
    "test.npy": "0be953015ec2e10d5f9aeddeb9cce035b39647bf7968517f790bd62e1006ff5d",
}
"""Checksums of a complete copy, decoded by Pillow 13.0.0 with libjpeg-turbo 3.2.0."""


def load(root: Path, counts: ExpectedCounts = OFFICIAL) -> Split[Images]:
    """Open the prepared images; the first time, decode those in ``root/tiny-imagenet-200``."""
    return prepared(root).load(partial(list_images, root, counts))


def prepared(root: Path) -> Prepared:
    """Return the folder of the decoded images."""
    return Prepared(prepared_folder(root, NAME, VERSION), SIZE)


def class_names(root: Path) -> Sequence[str] | None:
    """Return the wnids of the prepared images; None where there are none."""
    images = prepared(root)
    return images.read_manifest()["classes"] if images.exists() else None


def verify(root: Path) -> None:
    """Check the prepared files; print a note if they are intact but differ from the reference."""
    images = prepared(root)
    images.verify()
    manifest = images.read_manifest()
    if not REFERENCE_SHA256.items() <= manifest["sha256"].items():
        print(
            f"note: the pixels in {images.folder} differ from the reference copy: the image files "
            f"are another copy's, or their decoder ({manifest['decoder']}) rounds differently",
            flush=True,
        )


def presence(root: Path) -> Presence:
    """Return what exists: the prepared images, or else the unpacked archive."""
    if prepared(root).exists():
        return Presence(show_path(prepared(root).folder, root))
    missing = missing_parts(root / FOLDER)
    return Presence(FOLDER, missing, REMEDY if missing else "to be decoded once, 1.4 GB")


def list_images(root: Path, counts: ExpectedCounts) -> Listing:
    """List the images of an unpacked copy, and every difference from the official one.

    Raises ``UserError`` if there is no copy.
    """
    folder = root / FOLDER
    require_folder(folder, "TinyImageNet", REMEDY)
    scan = Scan()
    labels = label_classes(class_folders(folder / "train", scan))
    train = list_by_class(folder, "train", labels, scan)
    test, val_only, problems = list_validation_images(folder, labels, scan)
    problems = [
        *class_problems(folder, labels, val_only, counts),
        *problems,
        *count_problems("train", labels, train, counts.train_min, counts.train_max),
        *count_problems("val", labels, test, counts.test, counts.test),
        *scan.problems,
    ]
    train_files, test_files = (tuple(interleave_classes(part)) for part in (train, test))
    ignored = scan.ignored_lines()
    return Listing(folder, tuple(labels), train_files, test_files, tuple(problems), ignored)


def class_problems(
    folder: Path, labels: Labels, val_only: set[str], counts: ExpectedCounts
) -> Iterator[str]:
    """Compare the train folders with wnids.txt and with the classes that only val has."""
    path = folder / "wnids.txt"
    listed = " ".join(read_lines(path)).split() if path.is_file() else []
    if 0 < len(listed) < len(labels):
        print(
            f"{path} lists {len(listed)} classes, but there are {len(labels)} class folders. The "
            "file is ignored: it is known to be truncated in a public copy.",
            flush=True,
        )
        listed = []
    if not labels:
        yield "train: is missing or holds no class folders"
        return
    for wnid in sorted(val_only.union(listed).difference(labels)):
        yield f"train/{wnid}: is missing, {'wnids.txt' if wnid in listed else 'val'} names it"
    for wnid in sorted(set(labels) - set(listed)) if listed else ():
        yield f"train/{wnid}: is no class of wnids.txt"
    if len(labels) != counts.classes:
        yield f"train: {len(labels)} class folders, {counts.classes} expected"


def list_validation_images(
    folder: Path, labels: Labels, scan: Scan
) -> tuple[ByClass, set[str], list[str]]:
    """Return the validation images by class, the classes that train lacks, and other problems.

    The archive has all images in val/images and their classes in val_annotations.txt. Copies that
    were sorted into class folders have the same file names and are read to the same data set.
    """
    table = folder / "val" / "val_annotations.txt"
    if not table.is_file():
        names = class_folders(folder / "val")
        if not names or names == ["images"]:
            return [], set(), ["val: neither val_annotations.txt nor class folders are there"]
        return list_by_class(folder, "val", labels, scan), set(names).difference(labels), []
    if not (folder / "val" / "images").is_dir():
        return [], set(), ["val/images: is missing"]
    rows = (line.split("\t")[:2] for line in read_lines(table) if "\t" in line)
    images = list_image_files(folder, "val/images", 0, scan)
    files, doubled = index_by_name(images, suffix=True)
    match = match_table(dict(rows), files, labels)
    problems = [
        *doubled,
        *(f"val/images/{name}: is missing, {table.name} lists it" for name in match.missing),
        *(f"val/images/{name}: has no annotation" for name in match.unlisted),
    ]
    return match.by_class, set(match.unknown_classes.values()), problems


TINY_IMAGENET = Source(
    name=NAME,
    version=VERSION,
    title="TinyImageNet, 64 px",
    classes=OFFICIAL.classes,
    size=SIZE,
    mean=(0.4802, 0.4481, 0.3975),
    # As in mdistiller: the mean of each image's own std; over all pixels it is .276, .269, .282.
    std=(0.2302, 0.2265, 0.2262),
    padding=8,  # an eighth of the width, as on CIFAR; public code uses 8 or 4
    flip=True,
    load=load,
    train_images=OFFICIAL.train_total,
    presence=presence,
    verify=verify,
    class_names=class_names,
)
