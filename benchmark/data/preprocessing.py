"""What happens to a test image before a network sees it: described in records, and as a transform.

So a network can be used outside the suite on exactly the pixels that its accuracy was measured on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.config.errors import UserError
from benchmark.config.recipe import DatasetConfig
from benchmark.data import find_data_set
from benchmark.data.files.colour_modes import to_rgb
from benchmark.data.files.decode import fit_square
from benchmark.data.files.pillow import cut_centre, shorter_side
from benchmark.data.source import Source
from benchmark.data.stream import Normaliser, resize_whole
from benchmark.store.folder import RunFolder
from benchmark.store.loading import parse_record
from benchmark.store.preprocessing import Augmentation, GeometryStep, Preprocessing
from benchmark.store.record import Record


def describe_preprocessing(
    source: Source, root: Path, config: DatasetConfig | None = None
) -> Preprocessing:
    """Return what a record says about the images of a data set under a data root.

    ``config`` has the input size and the augmentation; None: the set's own size, and no training.
    """
    size = (config and config.size) or source.size
    names = source.class_names(root)
    return Preprocessing(
        size=size,
        input_size=None if source.fitted or source.decoder else source.size,
        steps=(*geometry(source, size),),
        mean=source.mean,
        std=source.std,
        training=None if config is None else augmentation(config),
        classes=None if names is None else (*names,),
    )


def evaluation_transform(
    of: Record | Preprocessing | Path | str, root: Path = Path("data")
) -> EvaluationTransform:
    """Return the transform of the suite's test images, for instance for torchvision's ImageFolder.

    ``of``: a record, the path of a run's folder or of its record, or the name of a data set.
    ``root`` is the data root, which is used for a name and for records without preprocessing.
    Raises UserError for an unknown name and for a record that cannot be read.
    """
    if isinstance(of, Path):
        # Unlike a report, this also takes a record that was copied out of its run's folder.
        of = parse_record(RunFolder(of if of.is_dir() else of.parent).read_record(), of)
    if isinstance(of, Record):
        of = of.preprocessing or from_configuration(of, root)
    if isinstance(of, str):
        of = describe_preprocessing(find_data_set(of, root), root)
    return EvaluationTransform(of)


def from_configuration(record: Record, root: Path) -> Preprocessing:
    """Return what an older record leaves out, from its configuration and the data set.

    Raises UserError for a probe, whose normalisation its protocol decides.
    """
    if record.kind == "probe" or "dataset" not in record.config:
        raise UserError(f"{record.id}: its record says nothing about its images")
    dataset = record.config["dataset"]
    if isinstance(dataset, str):  # of an imported teacher
        return describe_preprocessing(find_data_set(dataset, root), root)
    config = DatasetConfig(**dataset)
    source = find_data_set(config.name, root)
    if source.version != config.version:
        raise UserError(f"the images of {config.name} have changed since {record.id} was planned")
    return describe_preprocessing(source, root, config)


def augmentation(config: DatasetConfig) -> Augmentation:
    """Return the random changes of a run's training images."""
    return Augmentation(
        crop=config.crop, padding=config.padding, fill=config.fill, flip=config.flip
    )


def geometry(source: Source, size: int) -> list[GeometryStep]:
    """Return the steps from an image file of a data set to an input of ``size`` pixels."""
    if source.decoder is not None:  # streamed: see ``pillow.centres``
        return [
            GeometryStep("shorter side", shorter_side(size), "bilinear"),
            GeometryStep("centre crop", size, None),
        ]
    steps = [GeometryStep("fit", source.size, "bicubic")] if source.fitted else []
    if size != source.size:
        steps.append(GeometryStep("resize", size, "bilinear"))
    return steps


class EvaluationTransform:
    """A transform for torchvision: a PIL image becomes the float32 input (3, size, size).

    Pixels are those of the suite's own evaluation to the last bit, with the decoder pillow.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.normalise = Normaliser(preprocessing, torch.device("cpu"))

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the input of one image.

        Raises UserError where the data set's images have one size and this image has another.
        """
        expected = self.preprocessing.input_size
        if expected is not None and image.size != (expected, expected):
            raise UserError(
                f"an image has {image.width}x{image.height} pixels, and those of this data set "
                f"have {expected}x{expected}: scale it yourself first"
            )
        pixels = self.pixels(to_rgb(image))
        return self.normalise(pixels[None])[0].contiguous()

    def pixels(self, image: Image.Image) -> Tensor:
        """Return an RGB image after all steps, (3, size, size) uint8."""
        for step in self.preprocessing.steps:
            if step.name == "fit":
                image = fit_square(image, step.size)
            elif step.name == "centre crop":  # with the scaling of the shorter side before it
                image = cut_centre(image, step.size)
            elif step.name == "resize":
                whole = torch.from_numpy(np.array(image)).permute(2, 0, 1)
                small = resize_whole(whole[None], step.size)[0]
                image = Image.fromarray(small.permute(1, 2, 0).numpy())
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.preprocessing})"
