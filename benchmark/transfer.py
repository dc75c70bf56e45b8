"""The transfer track: what a probe is, and the protocols by which probes are done.

A probe is a linear classifier on the frozen embedding of a network that was trained on other
images. What is done with it is in ``probe.py``.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from benchmark.config import canonical, digest
from benchmark.runs import Crop, DatasetConfig, Imported, Numerics, Recipe, TrainRun, Whole, filed

Protocol = Literal["hsakd", "strict"]
VERSION = 1
"""Of the probes: bump when their numbers change."""
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


class ProbeRun(Whole):
    """One linear classifier, trained once on one network's embedding."""

    dataset: DatasetConfig
    protocol: Protocol
    backbone: TrainRun | Imported
    """Whose embedding; never changed."""
    recipe: Recipe
    seed: Annotated[int, Field(ge=0)]
    numerics: Numerics = "strict"
    version: int = VERSION

    @cached_property
    def id(self) -> str:
        """Readable stem and ten digits of the canonical form's hash; a folder's name."""
        method = self.backbone.method.name if isinstance(self.backbone, TrainRun) else "imported"
        stem = f"{filed(self.dataset.name)}-{self.protocol}-{filed(self.student)}-{method}"
        return f"{stem}-s{self.seed}-{digest(self.plain)}"

    @property
    def student(self) -> str:
        """The network that is probed."""
        return self.backbone.student

    @property
    def trained_on(self) -> str:
        """The data set that the network was trained on."""
        dataset = self.backbone.dataset
        return dataset if isinstance(dataset, str) else dataset.name

    @property
    def needs(self) -> tuple[TrainRun | Imported, ...]:
        """What must be done before this run can start."""
        return (self.backbone,)

    @property
    def trains_first(self) -> tuple[TrainRun, ...]:
        """What has to be trained here before it, teachers first."""
        if isinstance(self.backbone, Imported):
            return ()
        return (*self.backbone.trains_first, self.backbone)

    @cached_property
    def cohort_key(self) -> str:
        """Probes of equal key see the same images; under `strict` each has its own embeddings."""
        own = self.backbone.id if self.protocol == "strict" else None
        kind = [self.protocol, self.numerics, self.version]
        return canonical([self.dataset.plain, *kind, self.recipe.batch_size, self.seed, own])

    @property
    def stream_key(self) -> str:
        """Whoever sees a probe's batches has its key too."""
        return self.cohort_key


Run = TrainRun | ProbeRun


def parse(data: Any) -> Run:  # noqa: ANN401
    """Read what a run's ``as_json`` wrote."""
    if isinstance(data, dict) and "backbone" in data:
        return ProbeRun.model_validate(data, strict=False)
    return TrainRun.parse(data)
