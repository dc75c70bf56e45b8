"""The field's usual loop, as small as it can honestly be: what the suite is measured against.

One method a loop; PIL images one by one through torchvision's transforms and a DataLoader; NCHW,
eager float32, SGD as torch builds it by default; the teacher in every step, also where no loss
reads it; loss and accuracies fetched from the device in every step. The losses are the suite's own
methods, so that both sides compute the same. On a CPU the DataLoader has no workers: they would
take the cores from the training.
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
from methods.blocks.pairing import pooled_alike
from methods.interface import Batch, Features, Method, Phase

GPU_WORKERS = 8
"""Of the DataLoader, where the training needs no core of its own: the CRD benchmark's number."""


def be_usual() -> None:
    """Set what such loops set: nothing deterministic, the fastest convolutions on a GPU."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True  # torch's own default


# ---------------------------------------------------------------- images


class Pictures(Dataset[tuple[Tensor, int, int]]):
    """Images as PIL has them, augmented one by one."""

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

    def drawn(self, index: int, down: int, right: int, flipped: bool) -> Tensor:
        """Return an image by the same operations for a draw that is given."""
        picture = single.pad(Image.fromarray(self.arrays[index]), self.source.padding)
        picture = single.crop(picture, down, right, self.source.size, self.source.size)
        picture = single.hflip(picture) if flipped else picture
        shown: Tensor = single.normalize(
            single.to_tensor(picture), self.source.mean, self.source.std
        )
        return shown

    def batches(
        self, size: int, device: torch.device, workers: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, labels, indices) on the device without end, all of the same size."""
        loader = DataLoader(self, size, shuffle=True, num_workers=workers, drop_last=True)
        while True:
            for images, labels, indices in loader:
                yield images.to(device), labels.to(device), indices.to(device)


# ---------------------------------------------------------------- training


class Loop:
    """One method in one of its phases."""

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
        self.told: list[list[float]] = []
        """Loss, top-1 and top-5 of every step."""

    def step(
        self, batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module, spans: Spans
    ) -> Features:
        """Take one step as the field does. Returns what the teacher showed."""
        with spans.of("teacher"), torch.no_grad():
            shown: Features = teacher(batch[0])
        self.learn(batch, shown, spans)
        return shown

    def learn(self, batch: tuple[Tensor, Tensor, Tensor], shown: Features, spans: Spans) -> None:
        """Take a step's second half: all but the teacher."""
        images, labels, indices = batch
        with spans.of(self.name):
            # Where no loss reads the student, a phase of connectors alone, loops rest it too.
            seen: Any = self.student(images) if self.phase.reads_student else None
            progress = torch.tensor(self.progress, device=labels.device)
            losses = self.phase.loss(seen, shown, Batch(labels, indices, progress))
            total = torch.stack(list(losses.values())).sum()
            self.optimizer.zero_grad()
            if self.phase.trains:
                total.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
            self.told.append([total.item(), *(accuracies(seen, labels) if seen else ())])


def accuracies(seen: Features, labels: Tensor) -> list[float]:
    """Return top-1 and top-5 in percent, fetched from the device."""
    ranked = seen.logits.topk(min(5, seen.logits.shape[1])).indices == labels[:, None]
    return [100 * ranked[:, :k].any(1).float().mean().item() for k in (1, 5)]


def flow_matrix(first: Tensor, second: Tensor) -> Tensor:
    """FSP's matrix by broadcasting, a product of (B, C, D, HW): as it is usually written."""
    first, second = pooled_alike(first, second)
    return (first.flatten(2).unsqueeze(2) * second.flatten(2).unsqueeze(1)).mean(-1)
