"""CRD: tell a sample's own teacher features from those of other classes' samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.draws import Draws
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class CRD(Method):
    """CE + weight times noise-contrastive estimation, once for each network as the anchor."""

    name = "crd"
    version = 1
    paper = Paper(
        "Tian, Krishnan and Isola",
        "Contrastive Representation Distillation",
        "ICLR",
        2020,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-100 code."""

        negatives: Literal["memory", "batch"] = "memory"
        """What a sample is told from: remembered samples (the paper), or its batch (our own)."""
        weight: float = 0.8
        dim: int = 128
        temperature: float = 0.07
        count: int = 16384
        """Negatives a sample (memory only); more than there are samples is no mistake."""
        momentum: float = 0.5
        """How much of its old self a remembered vector keeps (memory only)."""

        def __post_init__(self) -> None:
            if self.negatives not in ("memory", "batch"):
                raise ValueError(f"negatives must be memory or batch, not {self.negatives!r}")
            for field in ("weight", "dim", "temperature", "count"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            if not 0 <= self.momentum < 1:
                raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")

    config: Config

    def __init__(
        self, config: Config, student: Shapes, teacher: Shapes, *, train_labels: Tensor
    ) -> None:
        super().__init__(config, student, teacher)
        self.student_head = nn.Linear(student.embedding, config.dim)
        self.teacher_head = nn.Linear(teacher.embedding, config.dim)
        if config.negatives == "memory":
            self.others = OtherClasses(train_labels)
            self.student_memory = Memory(len(train_labels), config.dim)
            self.teacher_memory = Memory(len(train_labels), config.dim)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
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
        places = torch.cat([indices[:, None], negatives], dim=1)
        losses = []
        for anchors, memory in ((s, self.teacher_memory), (t, self.student_memory)):
            scores = memory.scores(anchors, places, self.config.temperature)
            losses.append(nce_loss(scores, memory.log_z, memory.size))
        self.student_memory.update(indices, s, self.config.momentum)
        self.teacher_memory.update(indices, t, self.config.momentum)
        return torch.stack(losses).sum()


def nce_loss(scores: Tensor, log_z: Tensor, samples: int) -> Tensor:
    """Noise-contrastive estimation: scores (B, 1 + K), the positive first -> scalar.

    The objective of sec. 3.1 with the critic h = P / (P + K / N), P = exp(score) / Z and N the
    train set's size: -log h of the positive - the sum of log(1 - h) over the K negatives, mean
    over the batch. Written in the log odds of h, which overflow nowhere.
    """
    negatives = scores.shape[1] - 1
    log_odds = scores - log_z - log(negatives / samples)
    return (F.softplus(-log_odds[:, 0]) + F.softplus(log_odds[:, 1:]).sum(dim=1)).mean()


def batch_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """InfoNCE within the batch, both ways: unit vectors (B, D) twice, labels (B,) -> scalar.

    Each sample is told from those of other classes; its own class's other samples do not count.
    """
    scores = student @ teacher.T / temperature
    own = torch.arange(len(labels), device=labels.device)
    left_out = (labels[:, None] == labels) & (own[:, None] != own)
    scores = scores.masked_fill(left_out, -torch.inf)
    return F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)


class OtherClasses(nn.Module):
    """Draws train samples of other classes than a given one, evenly and with replacement."""

    order: Tensor
    starts: Tensor
    counts: Tensor

    def __init__(self, train_labels: Tensor) -> None:
        super().__init__()
        train_labels = train_labels.cpu()  # where all of this is deterministic
        counts = train_labels.bincount()
        if counts.max() == len(train_labels):
            raise ValueError("crd needs train samples of two classes at least")
        self.register_buffer("order", train_labels.argsort(stable=True))
        self.register_buffer("counts", counts)
        self.register_buffer("starts", counts.cumsum(0) - counts)
        self.draws = Draws()

    def draw(self, labels: Tensor, count: int) -> Tensor:
        """Positions in the train set: labels (B,) -> (B, count)."""
        own, start = self.counts[labels, None], self.starts[labels, None]
        words = self.draws.integers((len(labels), count), 2**31)
        places = (words * (len(self.order) - own)) >> 31  # each row has its own bound
        # In ``order`` a class is one block: who reaches it goes on behind it.
        return self.order[places + own * (places >= start)]


class Memory(nn.Module):
    """One network's vector for every train sample, and the constant Z of scores against them."""

    vectors: Tensor
    log_z: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        bound = sqrt(3 / dim)  # of length 1 on average
        self.register_buffer("vectors", torch.empty(size, dim).uniform_(-bound, bound))
        self.register_buffer("log_z", torch.tensor(torch.inf))

    def scores(self, anchors: Tensor, places: Tensor, temperature: float) -> Tensor:
        """Unit vectors (B, D), places (B, 1 + K) -> scores (B, 1 + K), dot product over T.

        The first batch sets Z for good: N times the mean of its exp(score) (authors' code).
        """
        # A copy, because the vectors are updated before the gradient is asked for. All N scores
        # are computed and K picked: cheaper than K vectors a sample.
        scores = (anchors @ self.vectors.clone().T / temperature).gather(1, places)
        with torch.no_grad():
            first = scores.logsumexp(dim=(0, 1)) - log(scores.numel() / self.size)
            self.log_z.copy_(torch.where(self.log_z.isinf(), first, self.log_z))
        return scores

    @torch.no_grad()
    def update(self, places: Tensor, vectors: Tensor, momentum: float) -> None:
        """Move the vectors at these places towards new ones, and back to length 1."""
        mixed = momentum * self.vectors[places] + (1 - momentum) * vectors
        self.vectors.index_copy_(0, places, F.normalize(mixed))
