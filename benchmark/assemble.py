"""From what a run says to what can be trained: numerics, images, learners, the teacher."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import methods
from benchmark import models, seeds
from benchmark.cohort import Learner
from benchmark.config import check
from benchmark.data import Source, Split
from benchmark.data.stream import Stream, TestImages
from benchmark.data.validation import held_out
from benchmark.runs import TrainRun
from benchmark.store import Store
from methods.interface import Given

TEST_BATCH = 256


def be_strict() -> None:
    """Set the numerics profile: the same bits on the same kind of machine, however often."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def streams(
    run: TrainRun, source: Source, data: Split, device: torch.device
) -> tuple[Stream, TestImages]:
    """Put the images on the device: those to train on, and those to measure on."""
    config, (train, test) = run.dataset, data
    if config.validation is not None:
        train, test = held_out(data.train, config.validation, source.classes)
    stream = Stream(
        train.first(config.limit),
        source,
        seed=seeds.derive("stream", run.seed),
        batch_size=run.recipe.batch_size,
        padding=config.padding,
        flip=config.flip,
        device=device,
    )
    return stream, TestImages(test.first(config.limit), source, device, TEST_BATCH)


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
    shape = [models.shapes(name, source.classes, 3, source.size) for name in networks(run)]
    student = models.build(run.student, source.classes, run.seed)
    given = handed_over(teacher or student, train_labels, run.recipe.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("connectors", run.method.name, run.seed))
        method = method_class.build(config, shape[0], shape[-1], given)
    place(student, device)
    place(method, device)
    return Learner(run.id, student, method, run.recipe)


def handed_over(teacher: models.Network, train_labels: Tensor, batch_size: int) -> Given:
    """Collect what a method may ask for."""
    return Given(teacher.classifier, teacher.norms, train_labels, batch_size)


def networks(run: TrainRun) -> list[str]:
    """Name the student's network and, if there is one, the teacher's."""
    return [run.student] + [run.teacher.student for _ in run.needs if run.teacher]


def teacher(
    runs: Sequence[TrainRun], store: Store, source: Source, device: torch.device
) -> models.Network | None:
    """Load the cohort's teacher, its weights checked against its record; frozen, in eval mode."""
    teachers = {run.teacher.id: run.teacher for run in runs if run.teacher}
    if not teachers:
        return None
    assert len(teachers) == 1
    [(teacher_id, run)] = teachers.items()
    folder = store.run(teacher_id)
    weights = folder.read_weights(folder.read_record()["weights"]["sha256"])
    network = models.build(run.student, source.classes, run.seed)
    network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
    place(network, device)
    return network.requires_grad_(False).eval()


def place(module: nn.Module, device: torch.device) -> None:
    """Move a module to where and how it computes."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
