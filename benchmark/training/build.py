"""From what a run says to what can be trained: images, learners, the teacher."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

import methods
from benchmark import models
from benchmark.config import seeds
from benchmark.config.recipe import Decoder, Numerics
from benchmark.config.runs import Imported, Run, TrainRun
from benchmark.config.validation import check
from benchmark.data import Source
from benchmark.data.held_out import held_out
from benchmark.data.source import Data, Images, Split
from benchmark.data.stream import Stream, TestImages
from benchmark.models.folding import fold
from benchmark.processes.distributed import ALONE, Ranks
from benchmark.store.folder import Store
from benchmark.training.learner import Learner
from benchmark.training.numerics import PROFILES, precision
from methods.interface import Given

TEST_BATCH = 256
TEST_PIXELS = 2**21
"""Of a batch on a GPU, where few launches count: 2048 of CIFAR's images."""
Frozen = TypeVar("Frozen", bound=nn.Module)


def streams(
    run: Run, source: Source, data: Data, device: torch.device, ranks: Ranks = ALONE
) -> tuple[Stream, TestImages]:
    """Put the images on the device: those to train on, and those to measure on."""
    config, (train, test) = run.dataset, decoded_by(data, run.dataset.decoder)
    if config.validation is not None:
        train, test = held_out(data.train, config.validation, source.classes)
    stream = Stream(
        train.first(config.limit),
        source,
        config,
        seed=seeds.derive("stream", run.seed),
        batch_size=run.recipe.batch_size,
        device=device,
        ranks=ranks,
    )
    size = config.size or source.size
    batch_size = test_batch(size, device)
    return stream, TestImages(test.first(config.limit), source, device, batch_size, config.size)


def test_batch(size: int, device: torch.device) -> int:
    """Return how many test images of a size make a batch."""
    return max(TEST_BATCH, TEST_PIXELS // size**2) if device.type == "cuda" else TEST_BATCH


def decoded_by(data: Data, decoder: Decoder | None) -> Data:
    """Have streamed images decoded as a run says."""
    if decoder is None or isinstance(data.train, Images):
        return data
    train, test = (part.decoded_by(decoder) for part in data if not isinstance(part, Images))
    return Split(train, test)


def learner(
    run: TrainRun,
    source: Source,
    train_labels: Tensor,
    teacher: models.Network | None,
    device: torch.device,
) -> Learner:
    """Build a learner under its own seeds."""
    method_class = methods.get(run.method.name)
    config, problems = check(method_class.Config, run.method.config)
    assert not problems
    size = run.dataset.size or source.size
    shape = [models.shapes(name, source.classes, 3, size) for name in networks(run)]
    student = models.build(run.student, source.classes, run.seed)
    # The teacher may be that of its company alone.
    taught_by = teacher if teacher and run.teacher else student
    given = handed_over(taught_by, train_labels, run.recipe.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("connectors", run.method.name, run.seed))
        method = method_class.build(config, shape[0], shape[-1], given)
    place(student, device, run.numerics)
    place(method, device)
    return Learner(run.id, student, method, run.recipe)


def handed_over(teacher: models.Network, train_labels: Tensor, batch_size: int) -> Given:
    """Collect what a method may ask for."""
    return Given(teacher.head, teacher.norms, train_labels, batch_size)


def networks(run: TrainRun) -> list[str]:
    """Name the student's network and, if there is one, the teacher's."""
    return [run.student] + [run.teacher.student for _ in run.needs if run.teacher]


def teacher(
    runs: Sequence[TrainRun], store: Store, source: Source, device: torch.device
) -> models.Network | None:
    """Load the cohort's teacher, its weights checked against its record; frozen, in eval mode.

    How it computes is the learners' profile's business, not that which it was trained by.
    """
    teachers = {run.teacher.id: run.teacher for run in runs if run.teacher}
    if not teachers:
        return None
    assert len(teachers) == 1
    [run] = teachers.values()
    network = models.build(run.student, source.classes, run.seed)
    load(network, run.id, store)
    return frozen_teacher(network, runs[0].dataset.size or source.size, device, runs[0].numerics)


def deployed(
    run: TrainRun | Imported,
    store: Store,
    source: Source,
    device: torch.device,
    numerics: Numerics = "strict",
) -> nn.Module:
    """Load what a finished run deploys, in the same way; ``source``: what it was trained on."""
    network: nn.Module = models.build(run.student, source.classes, run.seed)
    if isinstance(run, TrainRun):
        # Whatever a method has put around its student, it is there again to be filled.
        labels = torch.arange(4 * source.classes) % source.classes
        taught = [models.build(need.student, source.classes, seed=0) for need in run.needs]
        built = learner(run, source, labels, next(iter(taught), None), torch.device("cpu"))
        network = built.method.deployed(built.student)
    load(network, run.id, store)
    return frozen(network, device, numerics)


def load(network: nn.Module, run_id: str, store: Store) -> None:
    """Fill a network with a finished run's weights, which are checked against its record."""
    folder = store.run(run_id)
    weights = folder.read_weights(folder.read_record()["weights"]["sha256"])
    network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))


def frozen_teacher(network: Frozen, size: int, device: torch.device, numerics: Numerics) -> Frozen:
    """Put a network where it teaches, by a profile, from images of that size."""
    if PROFILES[numerics].folded:
        fold(network, size)
    return frozen(network, device, numerics)


def frozen(network: Frozen, device: torch.device, numerics: Numerics = "strict") -> Frozen:
    """Put a network where it computes, for looking only."""
    place(network, device, numerics)
    return network.requires_grad_(False).eval()


def place(module: nn.Module, device: torch.device, numerics: Numerics = "strict") -> None:
    """Move a module to where and how it computes."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in module.modules():
        if isinstance(part, models.Network):
            part.narrow = precision(numerics, device)
