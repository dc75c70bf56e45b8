"""What a run weighs and how long its steps take here, on noise: for runs that have no record yet.

Steps are timed as jobs take them: by themselves, or where they are captured in graphs, in those.
Networks are real, of random weights, and so are method, optimizer and augmentation; what is not
counted is reading from a disk. It ends in time: what is left over then is not timed.
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
from benchmark.config.validation import check
from benchmark.data import Images, Source, find
from benchmark.data.stream import Stream, TestImages
from benchmark.estimate.kinds import Finding, Pace, Subject, Weight
from benchmark.evaluation.accuracy import measured
from benchmark.suite.dry_run import Scene
from benchmark.training import cuda_graphs
from benchmark.training.build import frozen_teacher, handed_over, place, test_batch
from benchmark.training.cohort import Loop
from benchmark.training.learner import Learner
from benchmark.training.numerics import adopt
from methods.interface import Features, Method

LONG_ENOUGH = 0.3
"""Seconds of one kind of step after which it is known."""
FEW = 16
"""Images in a batch, at most, on a CPU: one costs about the same in a smaller batch."""
BATCHES = 8
"""In an epoch of those that are timed where steps are captured."""
COMPANY = 6
"""Learners of the cohort that is timed there beside a single one: branches of a graph overlap."""
OVERHEAD = 330
"""Bytes that `torch.save` adds to each tensor, measured on a ResNet-8."""


def examine(
    subjects: Sequence[Subject],
    root: Path,
    plugins: Sequence[str],
    device: str | None,
    seconds: float,
) -> list[Finding]:
    """Weigh all subjects, and time on ``device`` as many as the time allows, in their order."""
    for file in plugins:
        methods.add_file(Path(file))
    console = Console(stderr=True)
    until = time.monotonic() + seconds
    found = []
    for subject in track(subjects, "calibrating", console=console, transient=True):
        in_time = device is not None and subject.timed and time.monotonic() < until
        found.append(examined(subject, root, torch.device(device) if device and in_time else None))
    return found


def examined(subject: Subject, root: Path, device: torch.device | None) -> Finding:
    """Weigh a subject, and time it where a device is given."""
    run, source = subject.run, find(subject.run.dataset.name, root)
    adopt(run.numerics)
    taught_by = run.teacher.student if run.teacher else run.student
    scene = Scene(run.student, taught_by, source.classes, run.dataset.size or source.size)
    labels = torch.arange(subject.images[0]) % source.classes
    weight = None
    try:
        student, teacher = (scene.output(name)[0] for name in (scene.student, scene.teacher))
        weight = weigh(Learner(run.id, student, built(run, scene, teacher, labels), run.recipe))
        return Finding(weight, None if device is None else timed(subject, scene, source, device))
    except Exception:  # noqa: BLE001  (out of memory, a plug-in: `run` will say what is wrong)
        return Finding(weight, None)


def timed(subject: Subject, scene: Scene, source: Source, device: torch.device) -> Pace:
    """Time a subject by the loop that its job would have on a device."""
    run, resident = subject.run, subject.run.dataset.decoder is None
    labels = torch.arange(subject.images[0]) % source.classes
    size = min(run.recipe.batch_size, FEW) if device.type == "cpu" else run.recipe.batch_size
    batches = BATCHES if device.type == "cuda" and resident else 1
    noise = noise_of(labels[: size * batches], scene.size)
    stream = Stream(noise, source, run.dataset, seed=0, batch_size=size, device=device)
    # Noise in memory stands for streamed images too, whose steps jobs do not capture.
    loop = cuda_graphs.loop_for(stream, lambda why: None) if resident else None
    # Steps change a student, and to freeze changes a teacher: they are other subjects' too.
    student, teacher = (scene.output(name)[0] for name in (scene.student, scene.teacher))
    members = [
        Learner(run.id, copy.deepcopy(student), built(run, scene, teacher, labels), run.recipe)
        for _ in range(COMPANY if loop else 1)
    ]
    for member in members:
        place(member.student, device, run.numerics)
        place(member.method, device)
    shown = None
    if run.teacher:
        shown = frozen_teacher(copy.deepcopy(teacher), scene.size, device, run.numerics)
    if loop is None:
        return pace(members[0], shown, stream, subject)
    tested = noise_of(labels[: test_batch(scene.size, device)], scene.size)
    test = TestImages(tested, source, device, len(tested.labels), scene.size)
    return pace_in_cohorts(members, shown, stream, test, subject, loop)


def built(run: TrainRun, scene: Scene, teacher: nn.Module, labels: Tensor) -> Method:
    """Build a run's method."""
    kind = methods.get(run.method.name)
    config, _ = check(kind.Config, run.method.config)
    given = handed_over(teacher, labels, run.recipe.batch_size)  # type: ignore[arg-type]
    made: Method = kind.build(config, *scene.shapes(), given)
    return made


def noise_of(labels: Tensor, size: int) -> Images:
    """Make an image for each label."""
    return Images(torch.randint(0, 256, (len(labels), 3, size, size), dtype=torch.uint8), labels)


# ---------------------------------------------------------------- bytes


def weigh(learner: Learner) -> Weight:
    """Add up what a checkpoint holds, momentum too, and what is left at the end."""
    left = size_of(learner.method.deployed(learner.student).state_dict().values())
    states = [m.state_dict().values() for m in (learner.student, learner.method)]
    momentum = [p for p in learner._parameters() if p.requires_grad]
    return Weight(left, size_of(itertools.chain(*states, momentum)))


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of a file with these."""
    return sum(x.numel() * x.element_size() + OVERHEAD for x in tensors)


# ---------------------------------------------------------------- seconds


def pace(learner: Learner, teacher: nn.Module | None, stream: Stream, subject: Subject) -> Pace:
    """Time a step of each phase, a batch, a pass through the teacher and one of the evaluation."""
    device, (train, test) = stream.device, subject.images
    images, labels, indices = next(stream.epoch(0))

    def look(network: nn.Module) -> Features:
        with torch.no_grad():
            seen: Features = network(images)
        return seen

    shown = None if teacher is None else look(teacher)
    load = seconds_of(lambda: next(stream.epoch(0)), device)
    teach = seconds_of(lambda: look(teacher), device) if teacher is not None else 0.0
    own = shared = 0.0
    start = 0
    for phase in learner.phases:
        learner.epoch = start
        learner.begin_epoch(1, device)
        step = seconds_of(lambda: learner.step(images, shown, labels, indices, 0), device)
        own += phase.epochs * step
        shared += phase.epochs * (load + (teach if phase.reads_teacher else 0.0))
        start += phase.epochs
    deployed = learner.method.deployed(learner.student).eval()
    own += start * seconds_of(lambda: look(deployed), device) * test / train
    scale = 1 / (len(labels) * learner.recipe.epochs)
    return Pace(own * scale, shared * scale, "calibration")


def pace_in_cohorts(
    members: Sequence[Learner],
    teacher: nn.Module | None,
    stream: Stream,
    test: TestImages,
    subject: Subject,
    loop: Loop,
) -> Pace:
    """Time epochs of one learner and of all, which are alike, phase by phase, and evaluations.

    A cohort's time is taken to rise evenly with its learners between the two; what is left for none
    is what they share.
    """
    first, device = members[0], stream.device

    def image(count: int, start: int, epochs: int) -> float:
        for member in members[:count]:
            # Not at the phase's first epoch, which begins with an optimizer of its own.
            member.epoch = start + min(1, epochs - 1)

        def epoch() -> None:
            loop(members[:count], teacher, stream, 0)

        epoch()  # the first steps are not yet replays
        return seconds_of(epoch, device) / stream.count

    own = shared = 0.0
    start = 0
    for phase in first.phases:
        alone, together = (image(n, start, phase.epochs) for n in (1, len(members)))
        slope = max(0.0, together - alone) / (len(members) - 1)
        own += phase.epochs * slope
        shared += phase.epochs * (alone - slope)
        start += phase.epochs
    for member in members:
        if member.failure:
            raise UserError(member.failure.message)
    deployed = first.method.deployed(first.student)
    evaluation = seconds_of(lambda: measured(deployed, test), device) / len(test.labels)
    train, tested = subject.images
    own += start * evaluation * tested / train
    return Pace(own / first.recipe.epochs, shared / first.recipe.epochs, "calibration")


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return what one call takes after a first one; the first itself where that is long already.

    On a CPU the process's own time, which other work on the machine does not stretch.
    """
    first = clocked(work, 1, device)
    if first > LONG_ENOUGH:
        return first
    return clocked(work, max(1, min(20, int(LONG_ENOUGH / max(first, 1e-3)))), device)


def clocked(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the mean seconds of so many calls."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    settle(device)
    before = clock()
    for _ in range(times):
        work()
    settle(device)
    return (clock() - before) / times


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
