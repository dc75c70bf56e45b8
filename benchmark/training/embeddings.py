"""The probe protocol `strict`: linear classifiers on embeddings that are computed once."""

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
from benchmark.data.draws import random_words
from benchmark.data.held_out import held_out_indices
from benchmark.data.source import Data
from benchmark.data.stream import TestImages
from benchmark.models import check_unchanged
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks
from benchmark.training.build import TEST_BATCH, to_device, with_decoder
from benchmark.training.cohort import Cohort
from benchmark.training.learner import Learner
from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes

WEIGHT_DECAYS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
HELD_OUT = 0.1
"""Fraction of the train images that are held out to choose the weight decay."""


@dataclass(frozen=True)
class EmbeddingStream:
    """A stream of embeddings in place of images. Its order is a function of (seed, epoch)."""

    values: Tensor
    """Shape (N, D)."""
    labels: Tensor
    seed: int
    batch_size: int

    @property
    def device(self) -> torch.device:
        """The device of the embeddings."""
        return self.values.device

    @property
    def count(self) -> int:
        """The number of embeddings."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Batches per epoch, including a shorter last one."""
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (embeddings, labels, indices) for every batch of an epoch, counted from 0."""
        order = np.argsort(random_words(self.seed, epoch, "order", self.count), kind="stable")
        for indices in torch.split(torch.from_numpy(order).to(self.device), self.batch_size):
            yield self.values[indices], self.labels[indices], indices

    def batches(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (embeddings, labels) in the order of the data set."""
        assert ranks is SINGLE_PROCESS  # probes train in one process
        pairs = (torch.split(tensor, TEST_BATCH) for tensor in (self.values, self.labels))
        yield from zip(*pairs, strict=True)


def build_embedding_cohort(
    run: ProbeRun,
    backbone: nn.Module,
    source: Source,
    data: Data,
    device: torch.device,
) -> Cohort:
    """Compute all embeddings; return a cohort of one learner that trains on them."""
    seed, batch_size = seeds.derive("stream", run.seed), run.recipe.batch_size
    parts = (part.first(run.dataset.limit) for part in with_decoder(data, run.dataset.decoder))
    images = [TestImages(part, source, device, TEST_BATCH, run.dataset.size) for part in parts]
    before = models.fingerprint(backbone)
    train, test = (compute_embeddings(backbone, part) for part in images)
    check_unchanged(backbone, before)
    std, mean = torch.std_mean(train, dim=0)
    # Each input then has the same variance, and the vector a length of about one for every width,
    # so one learning rate fits all networks.
    scale = (std * train.shape[1] ** 0.5).clamp(min=1e-12)
    train_stream, test_stream = (
        EmbeddingStream((values - mean) / scale, part.labels, seed, batch_size)
        for values, part in ((train, images[0]), (test, images[1]))
    )
    method = LinearProbe(train_stream, source.classes)
    to_device(method, device)
    learner = Learner(run.id, Identity(), method, run.recipe)
    return Cohort([learner], train_stream, test_stream)


@torch.no_grad()
def compute_embeddings(backbone: nn.Module, images: TestImages) -> Tensor:
    """Return the embeddings of unaugmented images, shape (N, D)."""
    return torch.cat([backbone(batch).embedding for batch, _ in images.batches()])


class Identity(nn.Module):
    """The student of a probe whose input is already the embedding."""

    def forward(self, values: Tensor) -> Features:
        """Return the input (B, D) as embedding and logits."""
        return Features(values, (), (), values, values)


class LinearProbe(Method):
    """Linear classifiers on embeddings (B, D), whose weight decay is chosen on held-out images.

    All start from zero. The first phase trains one candidate for each weight decay on the train
    part without a held-out tenth. The second phase trains a new classifier on the whole train part
    with the weight decay of the best candidate on that tenth; of equally good ones, the smallest.
    """

    def __init__(self, stream: EmbeddingStream, classes: int) -> None:
        width = stream.values.shape[1]
        nothing = Shapes((0, 0, 0), (), width, classes)
        super().__init__(None, nothing, nothing)
        count = max(classes, round(HELD_OUT * stream.count))
        _, held_out = held_out_indices(stream.labels.cpu().numpy(), count, classes)
        self.stream, self.held_out = stream, torch.from_numpy(held_out).to(stream.device)
        trains = torch.ones(stream.count)
        trains[torch.from_numpy(held_out)] = 0
        self.register_buffer("trains", trains, persistent=False)
        self.register_buffer("decays", torch.tensor(WEIGHT_DECAYS), persistent=False)
        self.register_buffer("choice", torch.tensor(-1))
        # The last weight of each class is the bias.
        self.candidates = nn.Parameter(torch.zeros(len(WEIGHT_DECAYS), classes, width + 1))
        self.final = nn.Parameter(torch.zeros(classes, width + 1))

    trains: Tensor
    decays: Tensor
    choice: Tensor

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Return two phases, each with as many epochs as the recipe."""
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
        return scores.index(max(scores))  # the first of equal ones; argmax does not guarantee it

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return each candidate's accuracy on the held-out images, in percent."""
        values, labels = self.stream.values[self.held_out], self.stream.labels[self.held_out]
        right = affine(values, self.candidates).argmax(dim=2) == labels
        return 100 * right.double().mean(dim=1)

    def deployed(self, student: nn.Module) -> nn.Module:
        """Return the final classifier; in the first phase, the best candidate."""
        chosen = self.final if self.choice >= 0 else self.candidates[self._best()]
        return LinearClassifier(chosen)

    def summary(self) -> dict[str, Any]:
        """Return the chosen weight decay and the accuracies that decided."""
        return {
            "weight_decay": WEIGHT_DECAYS[int(self.choice)],
            "candidates": list(WEIGHT_DECAYS),
            "held_out": len(self.held_out),
            "held_out_top1": self.scores().tolist(),
        }


class LinearClassifier(nn.Module):
    """The linear classifier that a strict probe evaluates and saves."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.detach().clone())

    def forward(self, values: Tensor) -> Features:
        """Return embeddings (B, D) with their logits (B, C)."""
        return Features(values, (), (), values, affine(values, self.weights[None])[0])


def affine(values: Tensor, weights: Tensor) -> Tensor:
    """Apply K linear classifiers (K, C, D + 1) with bias last to (B, D). Returns (K, B, C)."""
    return values @ weights[..., :-1].mT + weights[..., -1][:, None]
