"""Probes in motion: linear classifiers on the frozen embeddings of trained networks.

A probe is a learner like any other, so it is trained, checkpointed and resumed by the same loop.
Under `hsakd` its network is the frozen one with a new classifier on top, and sees augmented images;
under `strict` it sees embeddings that were computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

import methods
from benchmark import models
from benchmark.config import seeds
from benchmark.config.protocols import PROTOCOLS
from benchmark.config.runs import ProbeRun
from benchmark.data import Source, find
from benchmark.models import unchanged
from benchmark.store.folder import Store
from benchmark.training.build import deployed, place, streams
from benchmark.training.cohort import Cast
from benchmark.training.embeddings import Linear, embedded
from benchmark.training.learner import Learner
from methods.interface import Features, Shapes


def cast_of(runs: Sequence[ProbeRun], store: Store, root: Path, device: torch.device) -> Cast:
    """Build a cohort of probes."""
    first = runs[0]
    backbones = [
        deployed(run.backbone, store, find(run.trained_on, root), device, run.numerics)
        for run in runs
    ]
    source = normed(first, find(first.dataset.name, root), find(first.trained_on, root))
    data = source.load(root)
    if first.protocol == "strict":
        [run], [network] = runs, backbones  # each has embeddings of its own
        return embedded(run, network, source, data, device)
    learners = [
        onlooker(run, network, source.classes, device)
        for run, network in zip(runs, backbones, strict=True)
    ]
    return Cast(learners, *streams(first, source, data, device))


def normed(run: ProbeRun, source: Source, trained_on: Source) -> Source:
    """Return the data set with the normalisation that the protocol prescribes."""
    norms = PROTOCOLS[run.protocol].norms
    if norms is None:
        mean, std = trained_on.mean, trained_on.std
    else:
        mean, std = norms.get(source.name, (source.mean, source.std))
    return replace(source, mean=mean, std=std)


def summary(learner: Learner) -> dict[str, Any]:
    """Return what a probe's record says of it beyond its scores."""
    if isinstance(learner.method, Linear):
        return learner.method.summary()
    assert isinstance(learner.student, Onlooker)
    learner.student.check()
    return {}


# ---------------------------------------------------------------- hsakd: augmented images


class Onlooker(nn.Module):
    """A frozen network under a new classifier; its batch norms rest whatever the mode."""

    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, classes)
        self.before = models.fingerprint(backbone)

    def check(self) -> None:
        """See that no weight and no buffer below the classifier has changed by a bit."""
        unchanged(self.backbone, self.before)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the classifier; the network below stays as it is."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Features:
        """Classify the embedding of (B, 3, H, W)."""
        with torch.no_grad():
            features: Features = self.backbone(images)
        return features._replace(logits=self.head(features.embedding))


def onlooker(run: ProbeRun, backbone: nn.Module, classes: int, device: torch.device) -> Learner:
    """Make a learner of which only the classifier learns."""
    width = width_of(backbone, run, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("probe", run.student, run.seed))
        student = Onlooker(backbone, width, classes)
    place(student, device)
    scratch = methods.get("scratch")
    nothing = Shapes((0, 0, 0), (), width, classes)
    return Learner(run.id, student, scratch(scratch.Config(), nothing, nothing), run.recipe)


def width_of(backbone: nn.Module, run: ProbeRun, device: torch.device) -> int:
    """Find how many numbers the embedding has."""
    assert run.dataset.size is not None
    blank = torch.zeros(1, 3, run.dataset.size, run.dataset.size, device=device)
    with torch.no_grad():
        return int(backbone(blank).embedding.shape[1])


# ---------------------------------------------------------------- strict: embeddings, once
