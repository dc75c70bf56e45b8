"""Train probes: linear classifiers on the frozen embeddings of trained networks.

A probe is an ordinary learner, so the same loop trains, checkpoints and resumes it. Under `hsakd`
its student is the frozen network with a new classifier, and its input is augmented images. Under
`strict` its input is embeddings that are computed once (``embeddings.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

import methods
from benchmark import models
from benchmark.config import seeds
from benchmark.config.protocols import PROBE_PROTOCOLS
from benchmark.config.runs import ProbeRun
from benchmark.data import Source, find_data_set
from benchmark.data.preprocessing import describe_preprocessing
from benchmark.models import check_unchanged
from benchmark.store.folder import Store
from benchmark.training.build import build_streams, load_deployed, to_device
from benchmark.training.cohort import Cohort
from benchmark.training.embeddings import LinearProbe, build_embedding_cohort
from benchmark.training.learner import Learner
from methods.interface import Features, Shapes


def build_probe_cohort(
    runs: Sequence[ProbeRun],
    store: Store,
    root: Path,
    device: torch.device,
    alone: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Cohort:
    """Build a cohort of probes of finished runs. All must have the same ``cohort_key``.

    ``alone(run_id)`` returns the context in which a run is built: if it swallows what the building
    raises, the run has no learner.
    """

    def load_backbone(run: ProbeRun) -> nn.Module:
        trained_on = find_data_set(run.trained_on, root)
        return load_deployed(run.backbone, store, trained_on, device, run.numerics)

    first, learners = runs[0], list[Learner]()
    source = with_protocol_norms(
        first, find_data_set(first.dataset.name, root), find_data_set(first.trained_on, root)
    )
    data = source.load(root)
    described = describe_preprocessing(source, root, first.dataset)
    if first.protocol == "strict":
        [run] = runs  # ``cohort_key`` allows one network only
        cohort = build_embedding_cohort(run, load_backbone(run), source, data, device)
        return cohort._replace(preprocessing=replace(described, training=None))
    for run in runs:
        with alone(run.id):
            learners.append(build_probe(run, load_backbone(run), source.classes, device))
    streams = build_streams(first, source, data, device)
    return Cohort(learners, *streams, preprocessing=described)


def with_protocol_norms(run: ProbeRun, source: Source, trained_on: Source) -> Source:
    """Return the probe's data set with the normalisation that its protocol prescribes."""
    norms = PROBE_PROTOCOLS[run.protocol].norms
    if norms is None:
        mean, std = trained_on.mean, trained_on.std
    else:
        mean, std = norms.get(source.name, (source.mean, source.std))
    return replace(source, mean=mean, std=std)


def probe_summary(learner: Learner) -> dict[str, Any]:
    """Return what a probe's record contains besides its scores.

    Raises RuntimeError if the probed network has changed during training.
    """
    if isinstance(learner.method, LinearProbe):
        return learner.method.summary()
    assert isinstance(learner.student, ProbedNetwork)
    learner.student.check()
    return {}


# ---------------------------------------------------------------- hsakd: augmented images


class ProbedNetwork(nn.Module):
    """A frozen network with a new classifier. Its batch norms always stay in eval mode."""

    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, classes)
        self.before = models.fingerprint(backbone)

    def check(self) -> None:
        """Check that the weights and buffers below the classifier are unchanged."""
        check_unchanged(self.backbone, self.before)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the classifier; the network below stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Features:
        """Return the features of images (B, 3, H, W), with the new classifier's logits."""
        with torch.no_grad():
            features: Features = self.backbone(images)
        return features._replace(logits=self.head(features.embedding))


def build_probe(run: ProbeRun, backbone: nn.Module, classes: int, device: torch.device) -> Learner:
    """Return a learner that trains only a new classifier on a frozen network."""
    width = embedding_width(backbone, run, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("probe", run.student, run.seed))
        student = ProbedNetwork(backbone, width, classes)
    to_device(student, device)
    scratch = methods.get("scratch")
    nothing = Shapes((0, 0, 0), (), width, classes)
    return Learner(run.id, student, scratch(scratch.Config(), nothing, nothing), run.recipe)


def embedding_width(backbone: nn.Module, run: ProbeRun, device: torch.device) -> int:
    """Return the size of a network's embedding."""
    assert run.dataset.size is not None
    blank = torch.zeros(1, 3, run.dataset.size, run.dataset.size, device=device)
    with torch.no_grad():
        return int(backbone(blank).embedding.shape[1])


# ---------------------------------------------------------------- strict: embeddings, once
