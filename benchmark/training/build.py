"""Build what a run trains: image streams, the learner with its method, and the teacher."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import methods
from benchmark import models
from benchmark.config import seeds
from benchmark.config.recipe import Decoder, MethodConfig, Numerics
from benchmark.config.runs import ImportedTeacher, Run, TrainRun
from benchmark.config.validation import validate
from benchmark.data import Source
from benchmark.data.held_out import split_held_out
from benchmark.data.source import Data, Images, Split
from benchmark.data.stream import Stream, TestImages
from benchmark.models.folding import fold
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks
from benchmark.store.folder import Store
from benchmark.training.learner import Learner
from benchmark.training.numerics import PROFILES, autocast_dtype
from methods.interface import Given, Method, Shapes

TEST_BATCH = 256
"""Images in a batch of the evaluation on a CPU, and at least in one on a GPU."""
TEST_PIXELS = 2**21
"""Pixels in a batch of the evaluation on a GPU, where few launches matter: 2048 CIFAR images."""
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def build_streams(
    run: Run, source: Source, data: Data, device: torch.device, ranks: Ranks = SINGLE_PROCESS
) -> tuple[Stream, TestImages]:
    """Return the run's training stream and its test images, both on the device."""
    config, (train, test) = run.dataset, with_decoder(data, run.dataset.decoder)
    if config.validation is not None:
        train, test = split_held_out(data.train, config.validation, source.classes)
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
    batch_size = test_batch_size(size, device)
    return stream, TestImages(test.first(config.limit), source, device, batch_size, config.size)


def test_batch_size(size: int, device: torch.device) -> int:
    """Return the batch size of the evaluation for images of ``size`` pixels squared."""
    return max(TEST_BATCH, TEST_PIXELS // size**2) if device.type == "cuda" else TEST_BATCH


def with_decoder(data: Data, decoder: Decoder | None) -> Data:
    """Return the data with streamed images decoded by ``decoder``; None leaves them as they are."""
    if decoder is None or isinstance(data.train, Images):
        return data
    train, test = (part.decoded_by(decoder) for part in data if not isinstance(part, Images))
    return Split(train, test)


def build_learner(
    run: TrainRun,
    source: Source,
    train_labels: Tensor,
    teacher: models.Network | None,
    device: torch.device,
) -> Learner:
    """Build a run's student and method, each initialised from its own seed."""
    kind, parameters = method_of(run.method)
    size = run.dataset.size or source.size
    shapes = [
        models.feature_shapes(name, source.classes, 3, size) for name in network_names_of_run(run)
    ]
    student = models.build(run.student, source.classes, run.seed)
    # A cohort's teacher is passed to all of its runs, also to those without a teacher.
    taught_by = teacher if teacher and run.teacher else student
    method = build_method(
        kind,
        parameters,
        (shapes[0], shapes[-1]),
        taught_by,
        train_labels,
        batch_size=run.recipe.batch_size,
        seed=seeds.derive("connectors", run.method.name, run.seed),
    )
    to_device(student, device, run.numerics)
    to_device(method, device)
    return Learner(run.id, student, method, run.recipe)


def method_of(config: MethodConfig) -> tuple[type[Method], Any]:
    """Return a run's method class and an instance of its ``Config``."""
    kind = methods.get(config.name)
    parameters, problems = validate(kind.Config, config.config)
    assert not problems
    return kind, parameters


def build_method(
    kind: type[Method],
    parameters: Any,  # noqa: ANN401
    shapes: tuple[Shapes, Shapes],
    teacher: models.Network,
    train_labels: Tensor,
    *,
    batch_size: int,
    seed: int,
) -> Method:
    """Build a method with its connectors, on the CPU.

    ``parameters`` is an instance of ``kind.Config``, and ``shapes`` are those of the student's and
    of the teacher's features. A method may copy the teacher's head and batch norms; for a method
    without a teacher, pass the student as ``teacher``. ``seed`` initialises the connectors; the
    global random generators are left as they were.
    """
    given = Given(teacher.head, teacher.norms, train_labels, batch_size)
    with torch.random.fork_rng(devices=[]):
        # Seeds the CPU's generator only, the one that is restored; ten times as fast as
        # `torch.manual_seed`, which matters to planning.
        torch.default_generator.manual_seed(seed)
        return kind.build(parameters, *shapes, given)


def network_names_of_run(run: TrainRun) -> list[str]:
    """Return the name of the student's network and, if there is a teacher, of the teacher's."""
    return [run.student] + [run.teacher.student for _ in run.needs if run.teacher]


def load_teacher(
    runs: Sequence[TrainRun], store: Store, source: Source, device: torch.device
) -> models.Network | None:
    """Load a cohort's teacher, frozen and in eval mode; None if no run has a teacher.

    The weights are checked against the teacher's record. The teacher computes by the numerics
    profile of the students, whatever profile it was trained with.
    """
    teachers = {run.teacher.id: run.teacher for run in runs if run.teacher}
    if not teachers:
        return None
    assert len(teachers) == 1
    [run] = teachers.values()
    network = models.build(run.student, source.classes, run.seed)
    load_weights(network, run.id, store)
    return prepare_teacher(network, runs[0].dataset.size or source.size, device, runs[0].numerics)


def load_deployed(
    run: TrainRun | ImportedTeacher,
    store: Store,
    source: Source,
    device: torch.device,
    numerics: Numerics = "strict",
) -> nn.Module:
    """Load the network that a finished run deploys, frozen and in eval mode.

    ``source`` is the data set that the network was trained on.
    """
    network: nn.Module = models.build(run.student, source.classes, run.seed)
    if isinstance(run, TrainRun):
        # A method may deploy more than the student, so the deployed module is built as in
        # training before the weights are loaded into it.
        labels = torch.arange(4 * source.classes) % source.classes
        teachers = [models.build(need.student, source.classes, seed=0) for need in run.needs]
        teacher = teachers[0] if teachers else None
        learner = build_learner(run, source, labels, teacher, torch.device("cpu"))
        network = learner.method.deployed(learner.student)
    load_weights(network, run.id, store)
    return freeze(network, device, numerics)


def load_weights(network: nn.Module, run_id: str, store: Store) -> None:
    """Load a finished run's weights into a network, after checking them against the record."""
    folder = store.run(run_id)
    weights = folder.read_weights(folder.load_record().weights.sha256)
    network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))


def prepare_teacher(
    network: AnyModule, size: int, device: torch.device, numerics: Numerics
) -> AnyModule:
    """Freeze a teacher on the device; a profile may fold its batch norms into its convolutions.

    ``size`` is the height and width of the images. The network itself is changed and returned.
    """
    if PROFILES[numerics].folded:
        fold(network, size)
    return freeze(network, device, numerics)


def freeze(network: AnyModule, device: torch.device, numerics: Numerics = "strict") -> AnyModule:
    """Move a network to the device, without gradients and in eval mode. Returns the network."""
    to_device(network, device, numerics)
    return network.requires_grad_(False).eval()


def to_device(module: nn.Module, device: torch.device, numerics: Numerics = "strict") -> None:
    """Move a module to the device in channels_last, and set its networks' autocast type."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in module.modules():
        if isinstance(part, models.Network):
            part.narrow = autocast_dtype(numerics, device)
