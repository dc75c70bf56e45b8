"""The usual loop that the suite is compared with: as small as it can honestly be.

It trains one method at a time. PIL images go one by one through torchvision's transforms and a
DataLoader. Networks compute in NCHW, eager float32; SGD is torch's default. Every step passes the
batch through the teacher, even if no loss reads it, and fetches loss and accuracies from the
device. The losses are the suite's own methods, so both sides compute the same. On a CPU the
DataLoader has no workers: they would take the cores from the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional as single

from benchmark.config.recipe import Recipe
from benchmark.data.source import Images, Source
from benchmark.training.meters import Spans
from methods.interface import Batch, Features, Method, Phase

GPU_WORKERS = 8
"""DataLoader workers on a GPU, as in the CRD benchmark's code."""


def use_usual_settings() -> None:
    """Set torch as such loops do: not deterministic, and the fastest convolutions on a GPU."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True  # torch's own default


# ---------------------------------------------------------------- images


class PilImages(Dataset[tuple[Tensor, int, int]]):
    """Images that PIL and torchvision augment one by one."""

    def __init__(self, images: Images, source: Source) -> None:
        self.arrays = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.source = source
        flip = [transforms.RandomHorizontalFlip()] if source.flip else []
        self.transform: Any = transforms.Compose(
            [
                transforms.RandomCrop(source.size, padding=source.padding),
                *flip,
                transforms.ToTensor(),
                transforms.Normalize(source.mean, source.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index], index

    def augmented(self, index: int, down: int, right: int, flipped: bool) -> Tensor:
        """Return an image, augmented by the same operations, for a given crop and flip."""
        picture = single.pad(Image.fromarray(self.arrays[index]), self.source.padding)
        picture = single.crop(picture, down, right, self.source.size, self.source.size)
        picture = single.hflip(picture) if flipped else picture
        image = single.to_tensor(picture)
        normalised: Tensor = single.normalize(image, self.source.mean, self.source.std)
        return normalised

    def batches(
        self, size: int, device: torch.device, workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield full batches (images, labels, indices) on the device, endlessly."""
        loader = DataLoader(self, size, shuffle=True, num_workers=workers, drop_last=True)
        while True:
            for images, labels, indices in loader:
                yield images.to(device), labels.to(device), indices.to(device)


# ---------------------------------------------------------------- training


class UsualLoop:
    """Trains a student by one method in one of its phases."""

    def __init__(
        self, name: str, student: nn.Module, method: Method, phase: Phase, recipe: Recipe
    ) -> None:
        self.name, self.phase = name, phase
        self.student, self.method = student.train(), method.train()
        self.optimizer = SGD(
            [*student.parameters(), *method.parameters()],
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.progress = 1 / max(2, phase.epochs)
        self.metrics: list[list[float]] = []
        """Loss, top-1 and top-5 of every step."""

    def step(
        self, batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module, spans: Spans
    ) -> Features:
        """Take a step: the teacher's pass, then the student's. Returns the teacher's features."""
        with spans.of("teacher"), torch.no_grad():
            features: Features = teacher(batch[0])
        self.learn(batch, features, spans)
        return features

    def learn(self, batch: tuple[Tensor, Tensor, Tensor], teacher: Features, spans: Spans) -> None:
        """Take the student's part of a step, given the teacher's features."""
        images, labels, indices = batch
        with spans.of(self.name):
            # A phase that trains connectors alone does not read the student; usual loops skip it.
            student: Any = self.student(images) if self.phase.reads_student else None
            progress = torch.tensor(self.progress, device=labels.device)
            losses = self.phase.loss(student, teacher, Batch(labels, indices, progress))
            total = torch.stack(list(losses.values())).sum()
            self.optimizer.zero_grad()
            if self.phase.trains:
                total.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
            self.metrics.append([total.item(), *(accuracies(student, labels) if student else ())])


def accuracies(features: Features, labels: Tensor) -> list[float]:
    """Return top-1 and top-5 in percent, fetched from the device."""
    logits = features.logits
    ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return [100 * ranked[:, :k].any(1).float().mean().item() for k in (1, 5)]
