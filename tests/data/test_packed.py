"""Images that stay JPEGs: packed once, decoded in passing as torchvision decodes them."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from benchmark.config.errors import UserError
from benchmark.data.files import packing, pillow
from benchmark.data.files.class_folders import ImageFile, Listing
from benchmark.data.files.packed import Packed, open_packed, verify_packed
from benchmark.data.files.prepared import exclusive_access

# pytest sets aside the filter of pillow.py, as it does everybody's.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")

SHAPES = [(70, 50), (50, 70), (64, 64), (33, 90), (90, 31), (20, 24)]


def photo(number: int, size: tuple[int, int]) -> Image.Image:
    """An image of soft colours and a little noise, unlike all others."""
    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    pixels = np.asarray(soft.resize(size, Image.Resampling.BICUBIC), np.int16)
    noisy = pixels + rng.integers(-9, 10, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, exif: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def turned() -> bytes:
    """What a camera writes that was held upright."""
    exif = Image.Exif()
    exif[0x112] = 6
    return exif.tobytes()


def broken_exif(image: Image.Image) -> bytes:
    """With a tag whose value would lie far behind the end of the file, and without resolution."""
    tag = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0\xff\xff\xff\x7f\0\0\0\x10"
    whole = jpeg(image)
    jfif = 2 + struct.unpack(">H", whole[4:6])[0]
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + whole[2 + jfif :]


ODD: dict[str, bytes] = {
    "cmyk": jpeg(photo(100, (60, 44)).convert("CMYK")),
    "grey": jpeg(photo(101, (60, 44)).convert("L")),
    "png named JPEG": png(photo(102, (60, 44))),
    "transparent": png(photo(103, (60, 44)).convert("RGBA")),
    "palette": png(photo(104, (60, 44)).quantize(16)),
    "turned": jpeg(photo(105, (60, 44)), turned()),
    "broken exif": broken_exif(photo(106, (60, 44))),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirteen images of several shapes and kinds, all by the name of .JPEG."""
    folder = tmp_path / "images"
    folder.mkdir()
    contents = [jpeg(photo(i, shape)) for i, shape in enumerate(SHAPES)] + [*ODD.values()]
    for i, content in enumerate(contents):
        (folder / f"{i:02d}.JPEG").write_bytes(content)
    return folder


def listing(source: Path) -> Listing:
    """Train: all but the last three, in the order of no folder; test: those."""
    names = sorted(path.name for path in source.iterdir())
    members = [ImageFile(n, (source / n).stat().st_size, i % 3) for i, n in enumerate(names)]
    train = tuple(members[i] for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7))
    return Listing(source, ("a", "b", "c"), train, tuple(members[-3:]))


def pack(source: Path) -> Path:
    folder = source.parent / "packed"
    packing.pack(folder, lambda: listing(source))
    return folder


@pytest.fixture
def train(source: Path) -> Packed:
    return open_packed(pack(source), "train")


@pytest.fixture
def shards_of_three(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that were written, in order."""
    written: list[str] = []
    real = packing.write_shard

    def noting(folder: Path, source: Path, shard: packing.ShardPlan, advance: object) -> list[str]:
        written.append(shard.name[:10])
        return real(folder, source, shard, lambda _: None)

    monkeypatch.setattr(packing, "IMAGES_PER_PACKED_SHARD", 3)
    monkeypatch.setattr(packing, "write_shard", noting)
    return written


def reference(images: Packed, index: int) -> Image.Image:
    """What torchvision's ImageFolder reads of that file."""
    path = images.shards.paths[0].parent / "one.JPEG"
    path.write_bytes(images.read(index))
    image: Image.Image = pil_loader(str(path))
    return image


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def boxes(images: Packed, seed: int) -> np.ndarray:
    """A box of any size in each image."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, images.heights + 1), rng.integers(1, images.widths + 1)
    top, left = (
        rng.integers(0, whole - part + 1)
        for whole, part in ((images.heights, height), (images.widths, width))
    )
    return np.stack([top, left, height, width], axis=1)


def in_sevens(order: np.ndarray, *columns: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for i in range(0, len(order), 7):
        yield (order[i : i + 7], *(column[i : i + 7] for column in columns))


def working() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("images")]


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize("size", [16, 48])
def test_crops_are_torchvisions_to_the_last_bit_in_the_order_asked_for(train, size):
    order = np.random.default_rng(0).permutation(len(train.labels))
    table = boxes(train, size)[order]
    batches = [*train.crops(in_sevens(order, table), size)]
    assert [len(batch) for batch in batches] == [7, 3]
    for shown, index, box in zip(torch.cat(batches), order.tolist(), table.tolist(), strict=True):
        expected = transforms.resized_crop(
            reference(train, index), *box, [size, size], InterpolationMode.BILINEAR
        )
        assert torch.equal(shown, tensor(expected))


@pytest.mark.parametrize("size", [32, 224])
def test_centres_are_torchvisions_to_the_last_bit(train, size):
    order = np.arange(len(train.labels))
    shown = torch.cat([*train.centres((batch for (batch,) in in_sevens(order)), size)])
    assert shown.shape == (10, 3, size, size)
    for i in order.tolist():
        small = transforms.resize(reference(train, i), size * 256 // 224)
        assert torch.equal(shown[i], tensor(transforms.center_crop(small, [size, size])))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40))
def test_the_view_of_any_image_is_rounded_as_torchvision_does(height, width, size):
    image = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width) % 251)
    small = transforms.resize(image, size * 256 // 224)
    seen = pillow.centre_crop(height, width, size)
    assert (seen.width, seen.height) == small.size
    corner = (seen.left, seen.top, seen.left + size, seen.top + size)
    assert small.crop(corner) == transforms.center_crop(small, [size, size])


@pytest.mark.parametrize("kind", ODD)
def test_whatever_a_file_holds_it_is_read_as_torchvision_reads_it(kind, tmp_path):
    (tmp_path / "one.JPEG").write_bytes(ODD[kind])
    image = pillow.decode_rgb(ODD[kind])
    assert image.mode == "RGB"
    assert torch.equal(tensor(image), tensor(pil_loader(str(tmp_path / "one.JPEG"))))


def test_a_camera_that_was_turned_turns_no_image(source):
    images = open_packed(pack(source), "test")
    assert Image.open(io.BytesIO(images.read(1))).getexif()[0x112] == 6
    assert (images.heights[1], images.widths[1]) == (44, 60)


def test_batches_lie_channels_last_as_networks_want_them(train):
    batch = next(train.centres([np.arange(4)], 32))
    assert batch.is_contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- in threads


def test_of_what_is_to_come_three_batches_are_begun_and_no_more(train):
    asked = 0

    def batches() -> Iterator[np.ndarray]:
        nonlocal asked
        for _ in range(50):
            asked += 1
            yield np.arange(2)

    with closing(train.centres(batches(), 32)) as stream:
        next(stream)
        assert asked == 1 + pillow.PREFETCH
        next(stream)
        assert asked == 2 + pillow.PREFETCH


def test_an_epoch_that_is_broken_off_leaves_no_thread(train):
    stream = train.centres((np.arange(10) for _ in range(50)), 224)
    next(stream)
    assert working()
    stream.close()
    assert working() == []


def test_whoever_forgets_to_close_an_epoch_leaves_no_thread_either(train):
    for _ in train.crops(((np.arange(10), boxes(train, 1)) for _ in range(50)), 64):
        break
    assert working() == []


def test_an_error_of_who_asks_ends_the_threads_too(train):
    def batches() -> Iterator[np.ndarray]:
        yield from (np.arange(10) for _ in range(5))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(train.centres(batches(), 64))
    assert working() == []


def test_an_image_that_was_damaged_since_is_named_with_its_place(train):
    path, offset = train.shards.paths[0], int(train.rows["offset"][4])
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(200))
    with pytest.raises(
        UserError, match=rf"packed is damaged: in {path.name}, .* byte {offset:,} is"
    ):
        list(train.centres([np.arange(10)], 32))
    assert working() == []


# ---------------------------------------------------------------- packing


def test_bytes_are_packed_unchanged_and_found_again_in_the_data_sets_order(source, shards_of_three):
    folder = pack(source)
    for part, members in zip(("train", "test"), listing(source)[2:4], strict=True):
        images = open_packed(folder, part)
        assert images.labels.tolist() == [member.label for member in members]
        for i, member in enumerate(members):
            assert images.read(i) == (source / member.file).read_bytes()
    assert shards_of_three == ["train-0000", "train-0001", "train-0002", "train-0003", "test-0000-"]
    assert len(list(folder.glob("*.bin"))) == 5


def test_in_a_shard_images_lie_as_in_their_folders(train, source):
    whole = b"".join((source / f"{i:02d}.JPEG").read_bytes() for i in range(10))
    assert train.shards.paths[0].read_bytes() == whole


def test_what_is_packed_is_opened_without_the_images(source):
    folder = pack(source)
    shutil.rmtree(source)
    packing.pack(folder, lambda: pytest.fail("it is there"))
    assert open_packed(folder, "train").image(0).mode == "RGB"


def test_an_interrupted_packing_goes_on_from_finished_shards(source, shards_of_three, monkeypatch):
    def interrupted(source: Path, member: ImageFile) -> object:
        if len(shards_of_three) == 3:
            raise KeyboardInterrupt
        return real(source, member)

    real = packing.check_image
    with monkeypatch.context() as patch:
        patch.setattr(packing, "check_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack(source)
    assert working() == []
    shards_of_three.clear()
    folder = pack(source)
    assert shards_of_three == ["train-0002", "train-0003", "test-0000-"]
    assert open_packed(folder, "train").read(3) == (source / "00.JPEG").read_bytes()
    verify_packed(folder)


def test_all_broken_files_are_named_and_mending_them_costs_their_shards(source, shards_of_three):
    names = ["01.JPEG", "02.JPEG", "11.JPEG"]
    whole = [(source / name).read_bytes() for name in names]
    (source / "01.JPEG").write_bytes(b"")
    (source / "02.JPEG").write_bytes(whole[1][:-300])
    (source / "11.JPEG").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError) as told:
        pack(source)
    title, *problems = str(told.value).splitlines()
    assert title == f"{source} cannot be used as it is: 3 problems"
    expected = [
        "  01.JPEG: is no image that can be read",
        "  02.JPEG: cannot be decoded (image file is truncated",
        "  11.JPEG: is no image that can be read",
    ]
    assert [p for p, e in zip(problems, expected, strict=True) if not p.startswith(e)] == []
    for name, content in zip(names, whole, strict=True):
        (source / name).write_bytes(content)
    shards_of_three.clear()
    folder = pack(source)
    assert shards_of_three == ["train-0000", "test-0000-"]
    assert not list(folder.glob("*-*.json"))


def test_what_is_wrong_with_a_listing_is_said_before_anything_is_decoded(source, monkeypatch):
    monkeypatch.setattr(packing, "check_image", lambda *_: pytest.fail("decoded"))
    wrong = listing(source)._replace(problems=("val: is missing",))
    with pytest.raises(UserError, match="1 problem\n  val: is missing"):
        packing.pack(source.parent / "packed", lambda: wrong)
    assert not (source.parent / "packed").exists()


def test_a_disk_that_is_too_small_is_named_before_anything_is_decoded(source, monkeypatch):
    monkeypatch.setattr(packing, "check_image", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 100))
    with pytest.raises(UserError, match=r"has 0\.0 GB left, 0\.0 GB are needed"):
        pack(source)


def test_shards_of_other_images_are_neither_gone_on_from_nor_kept(source, shards_of_three):
    (source / "12.JPEG").write_bytes(b"")
    with pytest.raises(UserError):
        pack(source)
    (source / "12.JPEG").write_bytes(jpeg(photo(7, (50, 50))))
    (source / "00.JPEG").write_bytes(jpeg(photo(8, (80, 80))))
    (source.parent / "packed" / ".train-0000-0.bin.tmp").write_bytes(b"torn")
    folder = pack(source)
    assert open_packed(folder, "train").heights[3] == 80
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert {path.name for path in folder.iterdir()} == {*manifest["sha256"], "manifest.json"}


def test_of_two_packings_at_once_the_second_waits_and_finds_it_done(source, shards_of_three, capfd):
    folder = source.parent / "packed"
    with exclusive_access(folder):
        second = threading.Thread(target=pack, args=(source,))
        second.start()
        time.sleep(0.3)
        assert not shards_of_three
        packing.write_packed_set(folder, listing(source))
    second.join(10)
    assert len(shards_of_three) == 5
    assert "waiting: " in capfd.readouterr().out


def test_the_manifest_says_what_was_packed_from_what_by_what(source):
    manifest = json.loads((pack(source) / "manifest.json").read_bytes())
    assert manifest["images"] == {"train": 10, "test": 3}
    assert manifest["classes"] == ["a", "b", "c"]
    assert manifest["examined by"].startswith("Pillow ")
    assert manifest["source"]["folder"] == str(source)
    assert len(manifest["sha256"]) == 4


# ---------------------------------------------------------------- opened


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def check(folder: Path) -> None:
    for part in ("train", "test"):
        open_packed(folder, part)
    verify_packed(folder)


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        (flip, "train-*.bin", r"train-0000-\w+\.bin's sha256 is \w{64}, \w{64} was written"),
        (flip, "test.npy", r"test\.npy's sha256 is"),
        (cut, "train-*.bin", r"train-0000-\w+\.bin has [\d,]+ bytes, not [\d,]+"),
        (cut, "test.npy", "test cannot be read"),
        (Path.unlink, "test-*.bin", "test cannot be read"),
        (cut, "manifest.json", "its manifest cannot be read"),
        (lambda path: path.write_text("{}"), "manifest.json", "not what this version writes"),
    ],
)
def test_packed_files_that_were_damaged_are_named_with_the_remedy(
    source, damage: Callable[[Path], None], name, said
):
    folder = pack(source)
    check(folder)
    [path] = folder.glob(name)
    damage(path)
    with pytest.raises(UserError, match=f"{folder} is damaged: .*{said}.* Delete it"):
        check(folder)


def test_checksums_find_a_file_that_is_gone(source):
    folder = pack(source)
    (folder / "test.npy").unlink()
    with pytest.raises(UserError, match=r"test\.npy is missing"):
        verify_packed(folder)


def test_views_keep_what_was_asked_for_in_that_order(train):
    some = train.first(8).pick(np.array([7, 0, 5]))
    for i, k in enumerate([7, 0, 5]):
        assert some.labels[i] == train.labels[k]
        assert (some.heights[i], some.widths[i]) == (train.heights[k], train.widths[k])
        assert some.read(i) == train.read(k)
    assert len(train.first(None).labels) == 10


def test_a_view_of_some_classes_numbers_them_anew(train):
    assert {*train.labels.tolist()} == {0, 1, 2}
    some = train.of_classes([2, 0])
    old = [k for k, label in enumerate(train.labels.tolist()) if label != 1]
    assert some.labels.tolist() == [{2: 0, 0: 1}[int(train.labels[k])] for k in old]
    assert [some.read(i) for i in range(len(old))] == [train.read(k) for k in old]


def test_files_are_closed_when_the_last_view_is_gone(source):
    images = open_packed(pack(source), "train").first(2)
    [file] = images.shards.files
    os.fstat(file)
    del images
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


# ---------------------------------------------------------------- DALI

DALI = find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None
needs_dali = pytest.mark.skipif(not DALI, reason="the extra dali is not installed")


@pytest.mark.skipif(DALI, reason="the extra dali is installed")
def test_without_dali_it_is_said_how_to_get_it(train):
    with pytest.raises(UserError, match=r"pip install -e '\.\[dali\]'"):
        train.decoded_by("dali")


@needs_dali
def test_dalis_crops_are_pillows_up_to_rounding_but_for_the_edges(train):
    order, table = np.arange(10)[::-1].copy(), boxes(train, 3)[::-1].copy()
    one, other = (
        torch.cat([*images.crops(in_sevens(order, table), 32)]).cpu().float()
        for images in (train, train.decoded_by("dali"))
    )
    assert (one - other)[:, :, 4:-4, 4:-4].abs().max() <= 2
    assert (one - other).abs().mean() < 1


@needs_dali
def test_dalis_centres_are_pillows_up_to_rounding(train):
    one, other = (
        torch.cat([*images.centres([np.arange(6), np.arange(6, 10)], 224)]).cpu().float()
        for images in (train, train.decoded_by("dali"))
    )
    assert (one - other).abs().max() <= 2


@needs_dali
def test_an_epoch_of_dali_that_is_broken_off_leaves_no_thread(train):
    stream = train.decoded_by("dali").centres((np.arange(10) for _ in range(50)), 32)
    next(stream)
    stream.close()
    assert working() == []


@needs_dali
def test_an_image_that_dali_cannot_decode_is_an_error_without_traceback(train):
    with train.shards.paths[0].open("r+b") as file:
        file.write(bytes(200))
    with pytest.raises(UserError, match="DALI cannot decode an image"):
        list(train.decoded_by("dali").centres([np.arange(10)], 32))
