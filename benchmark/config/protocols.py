"""The transfer track: what a probe is, and the protocols by which probes are done.

A probe is a linear classifier on the frozen embedding of a network that was trained on other
images. What is done with it is in ``probe.py``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, NamedTuple

from benchmark.config.recipe import Crop, Recipe

Protocol = Literal["hsakd", "strict"]
Triple = tuple[float, float, float]


class Rules(NamedTuple):
    """What a protocol prescribes."""

    recipe: Recipe
    crop: Crop
    flip: bool
    norms: MappingProxyType[str, tuple[Triple, Triple]] | None
    """Mean and standard deviation that images are normalised by, by data set (else its own); None:
    those of the images that the network was trained on."""


HALVES = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = Recipe(
    epochs=100,
    batch_size=64,
    lr=0.1,
    weight_decay=0.0,
    nesterov=True,
    lr_drops=(0.3, 0.6, 0.9),
    init_epochs="inside",
)
PROTOCOLS: dict[Protocol, Rules] = {
    # Yang et al., IJCAI 2021, by their code (winycg/HSAKD, eval_rep.py); there the best epoch is
    # told, here as everywhere the last.
    "hsakd": Rules(
        RECIPE,
        crop="resized",
        flip=True,
        norms=MappingProxyType({"stl10": (HALVES, HALVES), "tinyimagenet": IMAGENET}),
    ),
    # The embeddings of unaugmented images, once; weight decay is chosen on held-out train images.
    "strict": Rules(
        RECIPE.model_copy(update={"batch_size": 256, "lr": 3.0}),
        crop="padded",
        flip=False,
        norms=None,
    ),
}
