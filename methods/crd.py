"""CRD: contrast a sample's teacher embedding with those of other classes' samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive, require_within
from methods.blocks.draws import Draws
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class CRD(Method):
    """CE + weight times the NCE losses with the student and with the teacher as the anchor."""

    name = "crd"
    version = 1
    paper = Paper(
        "Tian, Krishnan and Isola", "Contrastive Representation Distillation", "ICLR", 2020
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 code."""

        negatives: Literal["memory", "batch"] = "memory"
        """Source of negatives: a memory bank (the paper), or the batch (our own variant)."""
        weight: float = 0.8
        dim: int = 128
        temperature: float = 0.07
        count: int = 16384
        """``memory`` only: negatives per sample; they are drawn with replacement."""
        momentum: float = 0.5
        """``memory`` only: share of the old vector in an update of the bank."""

        def __post_init__(self) -> None:
            require_positive(self, "weight", "dim", "temperature", "count")
            require_within("[0, 1)", self, "momentum")

    config: Config
    presets = MappingProxyType({"crd": Config()})

    def __init__(
        self, config: Config, student: Shapes, teacher: Shapes, *, train_labels: Tensor
    ) -> None:
        super().__init__(config, student, teacher)
        self.student_head = nn.Linear(student.embedding, config.dim)
        self.teacher_head = nn.Linear(teacher.embedding, config.dim)
        if config.negatives == "memory":
            self.others = NegativeSampler(train_labels)
            self.student_memory = MemoryBank(len(train_labels), config.dim)
            self.teacher_memory = MemoryBank(len(train_labels), config.dim)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        s = F.normalize(self.student_head(student.embedding))
        t = F.normalize(self.teacher_head(teacher.embedding.detach()))
        if self.config.negatives == "memory":
            negatives = self.others.draw(batch.labels, self.config.count)
            loss = self._from_memory(s, t, batch.indices, negatives)
        else:
            loss = batch_loss(s, t, batch.labels, self.config.temperature)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "crd": self.config.weight * loss,
        }

    def _from_memory(self, s: Tensor, t: Tensor, indices: Tensor, negatives: Tensor) -> Tensor:
        samples = torch.cat([indices[:, None], negatives], dim=1)
        losses = []
        for anchors, memory in ((s, self.teacher_memory), (t, self.student_memory)):
            scores = memory.scores(anchors, samples, self.config.temperature)
            losses.append(nce_loss(scores, memory.log_z, memory.size))
        self.student_memory.update(indices, s, self.config.momentum)
        self.teacher_memory.update(indices, t, self.config.momentum)
        return torch.stack(losses).sum()


def nce_loss(scores: Tensor, log_z: Tensor, samples: int) -> Tensor:
    """Noise-contrastive estimation, sec. 3.1: scores (B, 1 + K), the positive first -> scalar.

    -log h(positive) - sum log(1 - h(negative)), mean over the batch. The critic is
    h = P / (P + K / N) with P = exp(score) / Z and N the train set's size. Its log odds are used,
    because they do not overflow.
    """
    negatives = scores.shape[1] - 1
    log_odds = scores - log_z - log(negatives / samples)
    return (F.softplus(-log_odds[:, 0]) + F.softplus(log_odds[:, 1:]).sum(dim=1)).mean()


def batch_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """InfoNCE within the batch, both ways: unit vectors (B, D) twice, labels (B,) -> scalar.

    The negatives are the samples of other classes; other samples of the same class are left out.
    """
    scores = student @ teacher.T / temperature
    own = torch.arange(len(labels), device=labels.device)
    left_out = (labels[:, None] == labels) & (own[:, None] != own)
    scores = scores.masked_fill(left_out, -torch.inf)
    return F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)


class NegativeSampler(nn.Module):
    """Draws train samples of other classes, uniformly and with replacement."""

    order: Tensor
    starts: Tensor
    counts: Tensor

    def __init__(self, train_labels: Tensor) -> None:
        super().__init__()
        train_labels = train_labels.cpu()  # bincount and cumsum are deterministic there
        counts = train_labels.bincount()
        if counts.max() == len(train_labels):
            raise ValueError("crd needs train samples of two classes at least")
        self.register_buffer("order", train_labels.argsort(stable=True))
        self.register_buffer("counts", counts)
        self.register_buffer("starts", counts.cumsum(0) - counts)
        self.draws = Draws()

    def draw(self, labels: Tensor, count: int) -> Tensor:
        """Draw positions in the train set: labels (B,) -> (B, count)."""
        own, start = self.counts[labels, None], self.starts[labels, None]
        words = self.draws.integers((len(labels), count), 2**31)
        ranks = (words * (len(self.order) - own)) >> 31  # each row has its own upper bound
        # A class is one block of ``order``: ranks from its start on skip the block.
        return self.order[ranks + own * (ranks >= start)]


class MemoryBank(nn.Module):
    """A network's vector of every train sample, and the constant Z of scores against them."""

    vectors: Tensor
    log_z: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        bound = sqrt(3 / dim)  # vectors of length 1 on average
        self.register_buffer("vectors", torch.empty(size, dim).uniform_(-bound, bound))
        self.register_buffer("log_z", torch.tensor(torch.inf))

    def scores(self, anchors: Tensor, samples: Tensor, temperature: float) -> Tensor:
        """Unit vectors (B, D), sample indices (B, 1 + K) -> scores (B, 1 + K), dot product / T.

        The first batch fixes Z: N times the mean of its exp(score) (authors' code).
        """
        # A copy, because the bank is updated before the backward pass. Computing all N scores and
        # picking 1 + K is cheaper than gathering 1 + K vectors for each sample.
        scores = (anchors @ self.vectors.clone().T / temperature).gather(1, samples)
        with torch.no_grad():
            first = scores.logsumexp(dim=(0, 1)) - log(scores.numel() / self.size)
            self.log_z.copy_(torch.where(self.log_z.isinf(), first, self.log_z))
        return scores

    @torch.no_grad()
    def update(self, samples: Tensor, vectors: Tensor, momentum: float) -> None:
        """Mix new vectors into those of these samples, then normalise to length 1."""
        mixed = momentum * self.vectors[samples] + (1 - momentum) * vectors
        self.vectors.index_copy_(0, samples, F.normalize(mixed))
