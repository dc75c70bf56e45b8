"""The two random crops: what they draw, and that their pixels are Pillow's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as transforms

from benchmark.config.recipe import DatasetConfig
from benchmark.data.crops import AREA_RANGE, ASPECT_RANGE, ResizedCrops, draw_boxes, pad_images
from benchmark.data.sets.stl10 import STL10
from benchmark.data.source import Images
from benchmark.data.stream import Stream, TestImages

CPU = torch.device("cpu")


def noise(count: int, side: int) -> Tensor:
    drawn = torch.randint(0, 256, (count, 3, side, side), generator=torch.manual_seed(0))
    return drawn.to(torch.uint8)


def picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def in_two_passes(image: Image.Image, side: int) -> Tensor:
    """Resize along rows, then along columns, as Pillow did it always and does it mostly."""
    across = image.resize((side, image.height), Image.Resampling.BILINEAR)
    return tensor(across.resize((side, side), Image.Resampling.BILINEAR))


def sizes(count: int, height: int, width: int) -> tuple[npt.NDArray[np.int64], ...]:
    return np.full(count, height), np.full(count, width)


def test_a_resized_crop_is_pillows_to_the_bit():
    pixels = noise(60, 48)
    crops = ResizedCrops(pixels, 20)
    order, columns = np.arange(60), crops.draw(seed=1, epoch=0)
    shown = torch.cat(list(crops.batches(order, columns, None, [16, 16, 16, 12])))
    for image, made, top, left, height, width in zip(pixels, shown, *columns, strict=True):
        part = transforms.crop(picture(image), int(top), int(left), int(height), int(width))
        assert torch.equal(made, in_two_passes(part, 20))


def test_a_resized_crop_is_enlarged_where_it_is_small():
    pixels = noise(40, 12)
    crops = ResizedCrops(pixels, 32)
    columns = crops.draw(seed=2, epoch=0)
    [shown] = crops.batches(np.arange(40), columns, None, [40])
    for image, made, top, left, height, width in zip(pixels, shown, *columns, strict=True):
        part = transforms.crop(picture(image), int(top), int(left), int(height), int(width))
        assert torch.equal(made, in_two_passes(part, 32))


def test_boxes_lie_inside_and_have_the_areas_and_shapes_that_were_asked_for():
    top, left, height, width = draw_boxes(3, 0, *sizes(20_000, 375, 500))
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 375).all()
    assert (left + width <= 500).all()
    share, ratio = height * width / (375 * 500), width / height
    assert share.min() > AREA_RANGE[0] - 0.01
    assert share.max() > 0.95
    assert ratio.min() > ASPECT_RANGE[0] - 0.02
    assert ratio.max() < ASPECT_RANGE[1] + 0.02


def test_boxes_are_spread_as_torchvisions_are():
    made = draw_boxes(5, 1, *sizes(4000, 375, 500))
    torch.manual_seed(0)
    from torchvision.transforms import RandomResizedCrop

    blank = torch.zeros(3, 375, 500)
    theirs = [
        RandomResizedCrop.get_params(blank, list(AREA_RANGE), list(ASPECT_RANGE))
        for _ in range(4000)
    ]
    for ours, other in zip(made, np.array(theirs).T, strict=True):
        quantiles = [np.quantile(column, [0.1, 0.3, 0.5, 0.7, 0.9]) for column in (ours, other)]
        assert np.abs(quantiles[0] - quantiles[1]).max() < 14  # about 3 deviations of 4,000 draws


def test_of_an_image_that_no_box_fits_the_centre_is_taken():
    # 1 by 300: every ratio from 3/4 on is too tall for it.
    top, left, height, width = draw_boxes(0, 0, *sizes(5, 1, 300))
    assert set(zip(top, left, height, width, strict=True)) == {(0, 149, 1, 1)}


def test_boxes_follow_from_seed_epoch_and_index():
    first = np.stack(draw_boxes(1, 1, *sizes(50, 96, 96)))
    assert np.array_equal(first, np.stack(draw_boxes(1, 1, *sizes(50, 96, 96))))
    # More images do not change those that were there.
    assert np.array_equal(first, np.stack(draw_boxes(1, 1, *sizes(80, 96, 96)))[:, :50])
    for other in (draw_boxes(2, 1, *sizes(50, 96, 96)), draw_boxes(1, 2, *sizes(50, 96, 96))):
        assert (first != np.stack(other)).mean() > 0.8


@pytest.mark.parametrize(("fill", "mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_padding_is_torchvisions(fill, mode):
    pixels = noise(3, 9)
    made = pad_images(pixels, 4, fill)
    for image, padded in zip(pixels, made, strict=True):
        assert torch.equal(padded, tensor(transforms.pad(picture(image), [4], padding_mode=mode)))


def test_a_stream_shows_what_its_configuration_says():
    images = Images(noise(10, 96), torch.arange(10))
    config = DatasetConfig(
        name="stl10", version=1, limit=None, size=32, crop="resized", padding=0, flip=False
    )
    stream = Stream(images, STL10, config, seed=4, batch_size=4, device=CPU)
    batches = list(stream.epoch(0))
    assert [len(labels) for _, labels, _ in batches] == [4, 4, 2]
    order, *columns, _ = stream.table(0)
    [expected] = ResizedCrops(images.pixels, 32).batches(order, columns, None, [10])
    assert torch.equal(torch.cat([x for x, _, _ in batches]), stream.normalise(expected))
    assert torch.equal(torch.cat([labels for _, labels, _ in batches]), torch.from_numpy(order))


def test_test_images_are_resized_whole():
    images = Images(noise(5, 96), torch.arange(5))
    test = TestImages(images, STL10, CPU, 2, size=32)
    shown = torch.cat([batch for batch, _ in test.batches()])
    expected = torch.stack([in_two_passes(picture(image), 32) for image in images.pixels])
    assert torch.equal(shown, test.normalise(expected))


def test_test_images_of_the_right_size_are_not_touched():
    images = Images(noise(5, 96), torch.arange(5))
    assert TestImages(images, STL10, CPU, 2).images is not None
    shown = torch.cat([b for b, _ in TestImages(images, STL10, CPU, 2).batches()])
    assert torch.equal(shown, TestImages(images, STL10, CPU, 2).normalise(images.pixels))
