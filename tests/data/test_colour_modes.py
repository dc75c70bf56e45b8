"""Every mode of Pillow becomes the right RGB, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import pil_loader

from benchmark.data.files import pillow
from benchmark.data.files.colour_modes import to_rgb
from benchmark.data.files.decode import decode_image

Colour = tuple[int, int, int]
KNOWN: dict[str, tuple[Any, Colour]] = {
    "1": (255, (255, 255, 255)),
    "L": (100, (100, 100, 100)),
    "LA": ((100, 7), (100, 100, 100)),
    "La": ((128, 128), (255, 255, 255)),
    "RGB": ((10, 20, 30), (10, 20, 30)),
    "RGBA": ((10, 20, 30, 0), (10, 20, 30)),
    "RGBa": ((128, 0, 128, 128), (255, 0, 255)),
    "RGBX": ((10, 20, 30, 9), (10, 20, 30)),
    "CMYK": ((255, 0, 0, 0), (0, 255, 255)),
    "YCbCr": ((76, 85, 255), (254, 0, 0)),
    "HSV": ((0, 255, 255), (255, 0, 0)),
    "I;16": (257 * 100, (100, 100, 100)),
    "I;16L": (257 * 100, (100, 100, 100)),
    "I;16B": (257 * 100, (100, 100, 100)),
    "I;16N": (257 * 100, (100, 100, 100)),
}
"""By mode: a pixel and its colour."""
PALETTES = {"P", "PA"}
REFUSED = {"I", "F"}


@pytest.mark.parametrize("mode", KNOWN)
def test_a_known_pixel_of_this_mode_becomes_its_colour(mode):
    pixel, colour = KNOWN[mode]
    assert to_rgb(Image.new(mode, (1, 1), pixel)).getpixel((0, 0)) == colour


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("mode", ["P", "PA"])
@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_a_palette_gives_its_colours_transparent_or_not(mode, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    if mode == "PA":
        image = image.convert("PA")
    elif transparency is not None:
        image.info["transparency"] = transparency
    assert np.asarray(to_rgb(image)).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((137, 0, 0), (128, 128, 128)), ((136, 81, 70), (252, 0, 0)), ((255, 0, 0), (255, 255, 255))],
)
def test_lab_is_converted_by_its_meaning(tmp_path, lab, rgb):
    path = tmp_path / "x.tif"  # in a file, a* and b* are signed
    Image.frombytes("LAB", (1, 1), bytes(lab)).save(path)
    actual = np.array(pillow.decode_rgb(path.read_bytes()))[0, 0].astype(int)
    assert abs(actual - rgb).max() <= 4


@pytest.mark.parametrize("mode", sorted(REFUSED))
def test_grey_of_an_unknown_range_is_refused_by_name(mode, tmp_path):
    path = tmp_path / "x.tif"
    Image.new(mode, (1, 1), 3).save(path)
    message = rf"its mode is {mode} \(TIFF\), whose range of values is unknown"
    with pytest.raises(ValueError, match=message):
        decode_image(path, 1, fit=True)
    with pytest.raises(ValueError, match=message):
        pillow.decode_rgb(path.read_bytes())


def test_every_mode_of_pillow_is_in_one_of_these_lists():
    assert {*Image.MODES} - {*KNOWN} - PALETTES - REFUSED - {"LAB"} == set()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_of_grey_are_scaled_not_cut_off(tmp_path: Path, suffix):
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    path = tmp_path / f"x.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 8 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    grey = np.asarray(pillow.decode_rgb(path.read_bytes()))[0, :, 0]
    assert grey.tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


def test_big_endian_white_is_zero_and_twelve_bit_tiffs_are_scaled(tmp_path):
    path = tmp_path / "x.tif"
    values = np.array([[0, 65535, 257]], np.uint16)
    Image.fromarray(values).save(path, tiffinfo={262: 0})
    assert np.asarray(pillow.decode_rgb(path.read_bytes()))[0, :, 0].tolist() == [255, 0, 254]
    Image.fromarray(values.astype(">u2")).save(path)
    assert np.asarray(pillow.decode_rgb(path.read_bytes()))[0, :, 0].tolist() == [0, 255, 1]


def test_of_several_frames_the_first_is_read_and_the_orientation_is_ignored_as_by_torchvision(
    tmp_path,
):
    path = tmp_path / "x.tif"
    frames = [Image.new("RGB", (2, 2), (k, k, k)) for k in (10, 20)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert decode_image(path, 2, fit=False).max() == 10
    exif = Image.Exif()
    exif[0x112] = 6
    turned = tmp_path / "x.png"
    halves = Image.fromarray(np.array([[0, 255], [0, 255]], np.uint8))
    halves.save(turned, exif=exif)
    expected = np.asarray(pil_loader(str(turned))).transpose(2, 0, 1)
    assert np.array_equal(decode_image(turned, 2, fit=False), expected)
