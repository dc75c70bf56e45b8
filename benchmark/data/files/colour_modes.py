"""Convert images of every Pillow mode to RGB, or refuse the mode by name.

Conversions are Pillow's ``convert("RGB")``, as in torchvision's ImageFolder: transparency is
dropped, and the EXIF orientation is ignored. Two modes differ, because Pillow would clip them to
white: grey of 16 bits is scaled to 8 bits, and grey of 32 bits is refused where its range is
unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

CONVERTED_BY_PILLOW = (
    *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "LAB", "HSV"),
)
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
SIXTEEN_BITS = 2**16 - 1
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
"""Tags of TIFF 6.0, section 8."""
ORIENTATION = 0x112
"""The tag of EXIF 2.32, section 4.6.4, whose value 1 is upright."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image, or the first frame of several, in RGB with 8 bits per channel.

    Raises ValueError for a mode whose range of values is unknown, and what Pillow raises for a
    damaged file.
    """
    if image.mode == "La":  # Pillow converts it to LA only
        return image.convert("LA").convert("RGB")
    if (white := grey_range(image)) is not None:
        return scale_grey(image, white)
    if image.mode not in CONVERTED_BY_PILLOW:
        raise ValueError(
            f"its mode is {image.mode} ({image.format or 'no file'}), whose range of values is "
            "unknown: save it with 8 or 16 bits per channel"
        )
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def describe(image: Image.Image) -> Iterator[str]:
    """Yield what users should know of how an image is read, as the end of `7 images ...`."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview
        yield "have several frames, of which the first is read"
    if image.mode in TRANSPARENT or "transparency" in image.info:
        yield "have transparency, which is dropped"
    if grey_range(image) is not None:
        yield "are grey with more than 8 bits and are scaled to 8"
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error):  # damaged, and not used
        return
    if orientation not in (0, 1):
        yield "have an EXIF orientation, which is ignored"


def grey_range(image: Image.Image) -> int | None:
    """Return the value of white in a grey image of 9 to 16 bits; None for any other image."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
        return int(2 ** bits[0] - 1)
    # Pillow opens PGM of more than 8 bits as I, scaled to 16 bits; older versions do so with PNG.
    return SIXTEEN_BITS if image.mode == "I" and image.format in ("PNG", "PPM") else None


def scale_grey(image: Image.Image, white: int) -> Image.Image:
    """Return grey values from 0 to ``white`` as RGB from 0 to 255, rounded to the nearest."""
    values = np.asarray(image).astype(np.int64).clip(0, white)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # WhiteIsZero, which Pillow ignores
        values = white - values
    grey = (values * 255 + white // 2) // white
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
