"""Measure the disk use of runs and time their steps on this machine, with random images.

Used for runs without records. Networks, methods, optimizers and augmentation are the real ones,
with random weights. Steps are timed as jobs take them: one by one, or in CUDA graphs where jobs
capture those. Reading images from disk is not included.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

import methods
from benchmark.config.errors import UserError
from benchmark.config.runs import TrainRun
from benchmark.data import Images, Source, find_data_set
from benchmark.data.stream import Stream, TestImages
from benchmark.estimate.kinds import DiskUse, Sample, SampleResult, SecondsPerImage
from benchmark.evaluation.accuracy import score_sums
from benchmark.models.network import Network
from benchmark.suite.dry_run import NetworkPair
from benchmark.training import cuda_graphs
from benchmark.training.build import (
    build_method,
    method_of,
    prepare_teacher,
    test_batch_size,
    to_device,
)
from benchmark.training.cohort import EpochLoop
from benchmark.training.learner import Learner
from benchmark.training.meters import time_work
from benchmark.training.numerics import apply_profile
from methods.interface import Features, Method

MIN_TIMED_SECONDS = 0.3
"""A step is repeated until this many seconds are spent on it."""
CPU_BATCH_LIMIT = 16
"""The largest batch that is timed on a CPU, where an image costs the same in larger ones."""
TIMED_BATCHES = 8
"""Batches in a timed epoch where steps are captured in CUDA graphs."""
TIMED_COHORT = 6
"""Learners in the cohort that is timed with CUDA graphs, in addition to a single learner: branches
of a graph overlap, so a cohort takes less than the sum."""
TENSOR_OVERHEAD = 330
"""Bytes that `torch.save` adds to each tensor, measured on a ResNet-8."""


def measure_samples(
    samples: Sequence[Sample],
    root: Path,
    plugins: Sequence[str],
    device: str | None,
    seconds: float,
) -> list[SampleResult]:
    """Measure the disk use of all samples, and time those that ask for it on ``device``.

    No sample is started after ``seconds`` of work; those left over are not timed. On a CPU this is
    processor time, so that a busy machine times as many as an idle one, but a wall time of four
    times ``seconds`` ends it too.
    """
    for file in plugins:
        methods.add_file(Path(file))
    console = Console(stderr=True)
    work = time.process_time if device == "cpu" else time.monotonic
    work_end, wall_end = work() + seconds, time.monotonic() + 4 * seconds
    results = []
    for sample in track(samples, "timing steps", console=console, transient=True):
        in_time = work() < work_end and time.monotonic() < wall_end
        timed_on = torch.device(device) if device and sample.timed and in_time else None
        results.append(measure_sample(sample, root, timed_on))
    return results


def measure_sample(sample: Sample, root: Path, device: torch.device | None) -> SampleResult:
    """Return the disk use of a sample and, if a device is given, its time."""
    run, source = sample.run, find_data_set(sample.run.dataset.name, root)
    apply_profile(run.numerics)
    taught_by = run.teacher.student if run.teacher else run.student
    scene = NetworkPair(run.student, taught_by, source.classes, run.dataset.size or source.size)
    labels = torch.arange(sample.images[0]) % source.classes
    disk = None
    try:
        student, teacher = (scene.output(name)[0] for name in (scene.student, scene.teacher))
        disk = disk_use(
            Learner(run.id, student, build_for_timing(run, scene, teacher, labels), run.recipe)
        )
        return SampleResult(
            disk, None if device is None else time_sample(sample, scene, source, device)
        )
    except Exception:  # noqa: BLE001  (no memory, a wrong plug-in: `run` reports it)
        return SampleResult(disk, None)


def time_sample(
    sample: Sample, scene: NetworkPair, source: Source, device: torch.device
) -> SecondsPerImage:
    """Time a sample with the train loop that its job would use on the device."""
    run, resident = sample.run, sample.run.dataset.decoder is None
    labels = torch.arange(sample.images[0]) % source.classes
    size = (
        min(run.recipe.batch_size, CPU_BATCH_LIMIT)
        if device.type == "cpu"
        else run.recipe.batch_size
    )
    batches = TIMED_BATCHES if device.type == "cuda" and resident else 1
    noise = random_images(labels[: size * batches], scene.size)
    stream = Stream(noise, source, run.dataset, seed=0, batch_size=size, device=device)
    # Random images are in memory. Jobs that stream images from disk do not capture their steps.
    loop = cuda_graphs.make_graph_loop(stream, lambda why: None) if resident else None
    # Copies: training changes a student, freezing changes a teacher, and other samples use both.
    student, teacher = (scene.output(name)[0] for name in (scene.student, scene.teacher))
    members = [
        Learner(
            run.id,
            copy.deepcopy(student),
            build_for_timing(run, scene, teacher, labels),
            run.recipe,
        )
        for _ in range(TIMED_COHORT if loop else 1)
    ]
    for member in members:
        to_device(member.student, device, run.numerics)
        to_device(member.method, device)
    frozen = None
    if run.teacher:
        frozen = prepare_teacher(copy.deepcopy(teacher), scene.size, device, run.numerics)
    if loop is None:
        return time_steps(members[0], frozen, stream, sample)
    tested = random_images(labels[: test_batch_size(scene.size, device)], scene.size)
    test = TestImages(tested, source, device, len(tested.labels), scene.size)
    return time_cohorts(members, frozen, stream, test, sample, loop)


def build_for_timing(run: TrainRun, scene: NetworkPair, teacher: Network, labels: Tensor) -> Method:
    """Build a run's method for random images with the given labels."""
    return build_method(
        *method_of(run.method),
        scene.shapes(),
        teacher,
        labels,
        batch_size=run.recipe.batch_size,
        seed=0,
    )


def random_images(labels: Tensor, size: int) -> Images:
    """Return random images of ``size`` x ``size`` pixels, one for each label."""
    return Images(torch.randint(0, 256, (len(labels), 3, size, size), dtype=torch.uint8), labels)


# ---------------------------------------------------------------- bytes


def disk_use(learner: Learner) -> DiskUse:
    """Return the size of a learner's checkpoint, momentum included, and of what it leaves."""
    left = saved_bytes(learner.method.deployed(learner.student).state_dict().values())
    states = [m.state_dict().values() for m in (learner.student, learner.method)]
    momentum = [p for p in learner._parameters() if p.requires_grad]
    return DiskUse(left, saved_bytes(itertools.chain(*states, momentum)))


def saved_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the size in bytes of a file with these tensors."""
    return sum(x.numel() * x.element_size() + TENSOR_OVERHEAD for x in tensors)


# ---------------------------------------------------------------- seconds


def time_steps(
    learner: Learner, teacher: nn.Module | None, stream: Stream, sample: Sample
) -> SecondsPerImage:
    """Return a learner's time per image, from single steps.

    Timed are a step of each phase, loading a batch, and passes through teacher and student.
    """
    device, (train, test) = stream.device, sample.images
    images, labels, indices = next(stream.epoch(0))

    def forward(network: nn.Module) -> Features:
        with torch.no_grad():
            features: Features = network(images)
        return features

    features = None if teacher is None else forward(teacher)
    load = seconds_per_call(lambda: next(stream.epoch(0)), device)
    teach = seconds_per_call(lambda: forward(teacher), device) if teacher is not None else 0.0
    own = shared = 0.0
    start = 0
    for phase in learner.phases:
        learner.epoch = start
        learner.begin_epoch(1, device)
        step = seconds_per_call(lambda: learner.step(images, features, labels, indices, 0), device)
        own += phase.epochs * step
        shared += phase.epochs * (load + (teach if phase.reads_teacher else 0.0))
        start += phase.epochs
    deployed = learner.method.deployed(learner.student).eval()
    own += start * seconds_per_call(lambda: forward(deployed), device) * test / train
    scale = 1 / (len(labels) * learner.recipe.epochs)
    return SecondsPerImage(own * scale, shared * scale, "timing")


def time_cohorts(
    members: Sequence[Learner],
    teacher: nn.Module | None,
    stream: Stream,
    test: TestImages,
    sample: Sample,
    loop: EpochLoop,
) -> SecondsPerImage:
    """Return a learner's time per image, from epochs of one learner and of several equal ones.

    A cohort's time is assumed to be linear in the number of learners: the slope is the time of one
    learner, the intercept is the time that all share.
    """
    first, device = members[0], stream.device

    def seconds_per_image(count: int, start: int, epochs: int) -> float:
        for member in members[:count]:
            # The second epoch of the phase, if there is one: the first creates the optimizer.
            member.epoch = start + min(1, epochs - 1)

        def epoch() -> None:
            loop(members[:count], teacher, stream, 0)

        epoch()  # the first steps capture the graph
        return seconds_per_call(epoch, device) / stream.count

    own = shared = 0.0
    start = 0
    for phase in first.phases:
        alone, together = (seconds_per_image(n, start, phase.epochs) for n in (1, len(members)))
        slope = max(0.0, together - alone) / (len(members) - 1)
        own += phase.epochs * slope
        shared += phase.epochs * (alone - slope)
        start += phase.epochs
    for member in members:
        if member.failure:
            raise UserError(member.failure.message)
    deployed = first.method.deployed(first.student)
    evaluation = seconds_per_call(lambda: score_sums(deployed, test), device) / len(test.labels)
    train, tested = sample.images
    own += start * evaluation * tested / train
    return SecondsPerImage(own / first.recipe.epochs, shared / first.recipe.epochs, "timing")


def seconds_per_call(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, without the first call unless that one is long.

    On a CPU this is the process's own CPU time, so that a busy machine does not matter.
    """
    first = mean_seconds(work, 1, device)
    if first > MIN_TIMED_SECONDS:
        return first
    return mean_seconds(work, max(1, min(20, int(MIN_TIMED_SECONDS / max(first, 1e-3)))), device)


def mean_seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean time of ``times`` calls in seconds."""

    def repeat() -> None:
        for _ in range(times):
            work()

    return float(time_work(device, repeat)[0]) / times
