"""The protocols of the transfer track.

A probe is a linear classifier that is trained on the frozen embedding of a network. The network
itself was trained on another data set. ``training/probes.py`` trains probes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, NamedTuple

from benchmark.config.recipe import Crop, Recipe

ProbeProtocol = Literal["hsakd", "strict"]
Triple = tuple[float, float, float]


class ProbeRules(NamedTuple):
    """The settings that a probe protocol prescribes."""

    recipe: Recipe
    crop: Crop
    flip: bool
    norms: MappingProxyType[str, tuple[Triple, Triple]] | None
    """Mean and standard deviation for normalising images, by data set name. A data set that is not
    listed uses its own. None: use those of the data set that the network was trained on."""


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
PROBE_PROTOCOLS: dict[ProbeProtocol, ProbeRules] = {
    # Yang et al., IJCAI 2021, after their code (winycg/HSAKD, eval_rep.py). They report the best
    # epoch; this suite reports the last one, as everywhere.
    "hsakd": ProbeRules(
        RECIPE,
        crop="resized",
        flip=True,
        norms=MappingProxyType({"stl10": (HALVES, HALVES), "tinyimagenet": IMAGENET}),
    ),
    # The embeddings of unaugmented images are computed once. The weight decay is chosen on
    # held-out train images.
    "strict": ProbeRules(
        RECIPE.model_copy(update={"batch_size": 256, "lr": 3.0}),
        crop="padded",
        flip=False,
        norms=None,
    ),
}
