"""Linear classifiers on embeddings that are computed once: the probe protocol `strict`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import models
from benchmark.config import seeds
from benchmark.config.runs import ProbeRun
from benchmark.data import Source
from benchmark.data.draws import draw
from benchmark.data.held_out import parted
from benchmark.data.source import Data
from benchmark.data.stream import TestImages
from benchmark.models import unchanged
from benchmark.processes.distributed import ALONE, Ranks
from benchmark.training.build import TEST_BATCH, decoded_by, place
from benchmark.training.cohort import Cast
from benchmark.training.learner import Learner
from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes

WEIGHT_DECAYS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
HELD_OUT = 0.1
"""Share of the train images on which `strict` chooses among them."""


@dataclass(frozen=True)
class Embeddings:
    """A stream of embeddings in place of images, in an order that follows from (seed, epoch)."""

    values: Tensor
    """(N, D)."""
    labels: Tensor
    seed: int
    batch_size: int

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.values.device

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Batches an epoch; the last one may be short and is kept."""
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (embeddings, labels, indices) for every batch of an epoch (from 0)."""
        order = np.argsort(draw(self.seed, epoch, "order", self.count), kind="stable")
        for indices in torch.split(torch.from_numpy(order).to(self.device), self.batch_size):
            yield self.values[indices], self.labels[indices], indices

    def batches(self, ranks: Ranks = ALONE) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (embeddings, labels) in their own order."""
        assert ranks is ALONE  # a probe is one process's work
        pairs = (torch.split(tensor, TEST_BATCH) for tensor in (self.values, self.labels))
        yield from zip(*pairs, strict=True)


def embedded(
    run: ProbeRun,
    backbone: nn.Module,
    source: Source,
    data: Data,
    device: torch.device,
) -> Cast:
    """Compute all embeddings, and make a learner that reads them."""
    seed, batch_size = seeds.derive("stream", run.seed), run.recipe.batch_size
    parts = (part.first(run.dataset.limit) for part in decoded_by(data, run.dataset.decoder))
    images = [TestImages(part, source, device, TEST_BATCH, run.dataset.size) for part in parts]
    before = models.fingerprint(backbone)
    train, test = (embeddings(backbone, part) for part in images)
    unchanged(backbone, before)
    std, mean = torch.std_mean(train, dim=0)
    # Of unit variance, and of about unit length whatever the width: one learning rate fits all.
    scale = (std * train.shape[1] ** 0.5).clamp(min=1e-12)
    known, asked = (
        Embeddings((values - mean) / scale, part.labels, seed, batch_size)
        for values, part in ((train, images[0]), (test, images[1]))
    )
    method = Linear(known, source.classes)
    place(method, device)
    return Cast([Learner(run.id, Shown(), method, run.recipe)], known, asked)


@torch.no_grad()
def embeddings(backbone: nn.Module, images: TestImages) -> Tensor:
    """Return (N, D), the embeddings of unaugmented images."""
    return torch.cat([backbone(batch).embedding for batch, _ in images.batches()])


class Shown(nn.Module):
    """Stands where a student stands: what it is given is the embedding already."""

    def forward(self, values: Tensor) -> Features:
        """Pass (B, D) on."""
        return Features(values, (), (), values, values)


class Linear(Method):
    """Linear classifiers on (B, D): one for each weight decay, then one with the best of them.

    All start from zero. The first phase trains a candidate for every weight decay, on all but a
    tenth of the train part; the second trains one anew on all of it, with the weight decay whose
    candidate classifies that tenth best (of equal ones, the smallest).
    """

    def __init__(self, known: Embeddings, classes: int) -> None:
        width = known.values.shape[1]
        nothing = Shapes((0, 0, 0), (), width, classes)
        super().__init__(None, nothing, nothing)
        count = max(classes, round(HELD_OUT * known.count))
        _, held_out = parted(known.labels.cpu().numpy(), count, classes)
        self.known, self.held_out = known, torch.from_numpy(held_out).to(known.device)
        trains = torch.ones(known.count)
        trains[torch.from_numpy(held_out)] = 0
        self.register_buffer("trains", trains, persistent=False)
        self.register_buffer("decays", torch.tensor(WEIGHT_DECAYS), persistent=False)
        self.register_buffer("choice", torch.tensor(-1))
        # A bias is a weight of an input that is always one.
        self.candidates = nn.Parameter(torch.zeros(len(WEIGHT_DECAYS), classes, width + 1))
        self.final = nn.Parameter(torch.zeros(classes, width + 1))

    trains: Tensor
    decays: Tensor
    choice: Tensor

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Two, each as long as the recipe says."""
        return [
            Phase("select", budget.epochs, self._select, reads_teacher=False),
            Phase("fit", budget.epochs, self._fit, reads_teacher=False),
        ]

    def _select(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        counts, labels = self.trains[batch.indices], batch.labels
        logits = affine(student.embedding, self.candidates)
        losses = [F.cross_entropy(part, labels, reduction="none") @ counts for part in logits]
        decay = 0.5 * self.decays @ self.candidates.square().sum(dim=(1, 2))
        return {"ce": torch.stack(losses).sum() / counts.sum().clamp(min=1), "decay": decay}

    def _fit(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        self._choose()
        logits = affine(student.embedding, self.final[None])[0]
        decay = 0.5 * self.decays[self.choice] * self.final.square().sum()
        return {"ce": F.cross_entropy(logits, batch.labels), "decay": decay}

    @torch.no_grad()
    def _choose(self) -> None:
        if self.choice < 0:
            self.choice.fill_(self._best())

    def _best(self) -> int:
        scores: list[float] = self.scores().tolist()
        return scores.index(max(scores))  # of equal ones the first, which argmax does not promise

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return each candidate's accuracy on the held-out images, percent."""
        values, labels = self.known.values[self.held_out], self.known.labels[self.held_out]
        right = affine(values, self.candidates).argmax(dim=2) == labels
        return 100 * right.double().mean(dim=1)

    def deployed(self, student: nn.Module) -> nn.Module:
        """Return the final classifier, or until it is trained the best candidate."""
        chosen = self.final if self.choice >= 0 else self.candidates[self._best()]
        return Classifier(chosen)

    def summary(self) -> dict[str, Any]:
        """Say what was chosen, by what."""
        return {
            "weight_decay": WEIGHT_DECAYS[int(self.choice)],
            "candidates": list(WEIGHT_DECAYS),
            "held_out": len(self.held_out),
            "held_out_top1": self.scores().tolist(),
        }


class Classifier(nn.Module):
    """What `strict` measures and saves."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.detach().clone())

    def forward(self, values: Tensor) -> Features:
        """Classify (B, D)."""
        return Features(values, (), (), values, affine(values, self.weights[None])[0])


def affine(values: Tensor, weights: Tensor) -> Tensor:
    """(B, D) by (K, C, D + 1), the last of which is the bias, to (K, B, C)."""
    return values @ weights[..., :-1].mT + weights[..., -1][:, None]
