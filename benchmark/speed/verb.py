"""`run_all.py speed`: the suite against the field's usual loop, in turns, while time lasts."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark import environment, models
from benchmark.child import in_a_child
from benchmark.data.cifar import CIFAR100
from benchmark.data.source import Images
from benchmark.data.stream import Stream
from benchmark.entries import Entry
from benchmark.errors import UserError
from benchmark.files import write_atomic
from benchmark.machine import Paths
from benchmark.numerics import adopt
from benchmark.planned import Planned
from benchmark.runs import Recipe
from benchmark.speed import epochs, flow, input, memory
from benchmark.speed.cost import Cost, cost
from benchmark.speed.figures import Round
from benchmark.speed.floor import Counted, counted, rates
from benchmark.speed.memory import SIZES, entry_of, noise
from benchmark.speed.reference import Pictures
from benchmark.speed.report import PairResult, Result
from benchmark.speed.sides import Cohort, Loops, Scene

PAIRS = "wrn_40_2:wrn_16_2", "vgg13:vgg8", "resnet110:resnet20", "resnet32x4:resnet8x4"
LEAST_ROUNDS, INPUT_ROUNDS, FLOW_ROUNDS = 2, 4, 3
GPU_STEPS = 20
EPOCHS = 240
SOURCE = CIFAR100


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    pairs: Sequence[str]
    methods: Sequence[str]
    batch: int
    seconds: float
    device: str
    data: Path
    count: int = SIZES[0]
    """Train images; fewer in tests."""


@dataclass
class Bench:
    """A pair's two sides, and the rounds so far."""

    teacher: str
    student: str
    methods: Sequence[str]
    left_out: Mapping[str, str]
    cohort: Cohort
    loops: Loops
    entries: Sequence[Entry]
    counted: tuple[Counted, Counted]
    rounds: list[Round] = field(default_factory=list)
    lasted: float = 0.0
    """Seconds of the last round by the wall's clock."""

    def round(self) -> None:
        """Measure both sides, by turns the one or the other first."""
        began = time.perf_counter()
        if len(self.rounds) % 2:
            suite = self.cohort.measure()
            usual = self.loops.measure()
        else:
            usual = self.loops.measure()
            suite = self.cohort.measure()
        self.rounds.append(Round(usual, suite))
        self.lasted = time.perf_counter() - began


class Watch:
    """What is being measured, on a line that is redrawn between measurements only."""

    def __init__(self, seconds: float, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        # A thread that draws would count as the measured work.
        self.progress = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self.task = self.progress.add_task("", total=seconds)
        self.began = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def say(self, text: str) -> None:
        """Say what comes next."""
        self.progress.update(self.task, description=text, completed=self.elapsed)
        self.progress.refresh()


def speed(asked: Asked, console: Console) -> Result:
    """Measure everything. Raises ``UserError``."""
    names = [pair_of(text) for text in asked.pairs]
    entries = [entry_of(label) for label in asked.methods]
    device = torch.device(device_of(asked.device))
    adopt("strict")
    watch = Watch(asked.seconds, console)
    with watch.progress:
        facts = facts_of(device)
        watch.say("rates of the device")
        found_rates = rates(device)
        scene, whose = scene_of(asked, device)
        watch.say("input")
        stream, pictures = scene.stream(), Pictures(scene.images, SOURCE)
        found_input = input.measure(stream, pictures, INPUT_ROUNDS)
        benches = [bench(scene, stream, pictures, pair, entries, watch) for pair in names]
        peak, of = memory_of(benches, asked, device, watch)
        take_turns(benches, asked.seconds, watch)
        pairs = [result_of(one, scene, watch) for one in benches]
    facts |= {"images": whose, "train_images": len(scene.images.labels), "batch": asked.batch}
    facts |= {"methods": list(asked.methods), "epochs": EPOCHS, "load_after": os.getloadavg()}
    facts |= {"seconds": watch.elapsed, "cpu_seconds": time.process_time()}
    return Result(facts, pairs, found_input, peak, of, found_rates)


def scene_of(asked: Asked, device: torch.device) -> tuple[Scene, str]:
    """Lay out what all pairs have in common; say whose images they are."""
    images, whose = images_for(asked)
    recipe = Recipe(epochs=EPOCHS, batch_size=asked.batch, lr=0.05, init_epochs="extra")
    steps = GPU_STEPS if device.type == "cuda" else 1
    return Scene(SOURCE, images, recipe, device, steps), whose


def suite_cost(suite: Planned, options: argparse.Namespace) -> Cost:
    """Compute what a suite would take here. Raises ``UserError``."""
    device = device_of(options.device)
    adopt("strict")
    plugins = tuple(suite.manifest.get("plugins", ()))
    paths = Paths(options.results, options.data_root, plugins)
    return cost(suite, paths, device, options.seconds, facts_of(torch.device(device)))


def bench(
    scene: Scene,
    stream: Stream,
    pictures: Pictures,
    pair: tuple[str, str],
    entries: Sequence[Entry],
    watch: Watch,
) -> Bench:
    """Build a pair's two sides, and have each do once what is done once."""
    teacher, student = pair
    watch.say(f"{teacher} -> {student}: building")
    left_out = {
        entry.label: reason for entry in entries if (reason := scene.mismatch(entry, *pair))
    }
    chosen = [entry for entry in entries if entry.label not in left_out]
    if not any(entry.spec.kind.needs_teacher for entry in chosen):
        raise UserError(f"{teacher} -> {student}: no method of these has a teacher there")
    cohort = Cohort(scene, stream, teacher, student, chosen)
    loops = Loops(scene, pictures, teacher, student, chosen)
    cohort.warm_up()
    loops.warm_up()
    counts = [counted(name, SOURCE.classes, SOURCE.size, scene.recipe.batch_size) for name in pair]
    labels = [entry.label for entry in chosen]
    return Bench(teacher, student, labels, left_out, cohort, loops, chosen, (counts[0], counts[1]))


def memory_of(
    benches: Sequence[Bench], asked: Asked, device: torch.device, watch: Watch
) -> tuple[float, str]:
    """Return the MiB that the methods and scratch take on the largest pair, and whose they are."""
    largest = max(benches, key=lambda one: one.counted[1].maps)
    pair = largest.teacher, largest.student
    labels = ["scratch", *(label for label in largest.methods if label != "scratch")]
    of = f"a cohort of {len(labels)}, {' -> '.join(pair)}"
    watch.say(f"memory of {of}")
    found = in_a_child(memory.peak, *pair, labels, asked.batch, str(device), asked.count)
    return found, of


def take_turns(benches: Sequence[Bench], seconds: float, watch: Watch) -> None:
    """Go round the pairs: twice, then on as long as a round still fits."""

    def due(one: Bench) -> bool:
        return len(one.rounds) < LEAST_ROUNDS or watch.elapsed + one.lasted < seconds

    while any(map(due, benches)):
        for one in filter(due, benches):
            watch.say(f"{one.teacher} -> {one.student}: round {len(one.rounds) + 1}")
            one.round()


def result_of(one: Bench, scene: Scene, watch: Watch) -> PairResult:
    """Measure what a pair needs once, and sum up."""
    pair, whole = (one.teacher, one.student), None
    if scene.device.type == "cuda":
        watch.say(f"{one.teacher} -> {one.student}: whole epochs, by graphs and without")
        whole = epochs.measure(scene, one.loops, pair, one.entries)
        adopt("strict")
    watch.say(f"{one.teacher} -> {one.student}: FSP")
    return PairResult(
        one.teacher,
        one.student,
        one.methods,
        one.left_out,
        one.cohort.plans,
        one.rounds,
        flow.measure(*pair, SOURCE, scene.device, FLOW_ROUNDS),
        one.counted,
        whole,
    )


# ---------------------------------------------------------------- what is asked for, and where


def asked(options: argparse.Namespace) -> Asked:
    """Read the command line. Raises ``UserError``."""
    labels = [label.strip() for label in options.methods.split(",") if label.strip()]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"--methods {options.methods}: expected methods by name, each once")
    if not 2 <= options.batch <= SIZES[0]:
        raise UserError(f"--batch {options.batch}: expected 2 to {SIZES[0]} images")
    pairs = options.pairs or PAIRS
    return Asked(pairs, labels, options.batch, options.seconds, options.device, options.data_root)


def pair_of(text: str) -> tuple[str, str]:
    """Read TEACHER:STUDENT. Raises ``UserError``."""
    teacher, colon, student = text.partition(":")
    if not colon:
        raise UserError(f"--pair {text}: expected TEACHER:STUDENT")
    for name in (teacher, student):
        models.maker(name)
    return teacher, student


def device_of(asked: str) -> str:
    """Return where to measure. Raises ``UserError`` where there is no such device."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError("--device cuda: torch sees no GPU here")
    return ("cuda" if there else "cpu") if asked == "auto" else asked


def images_for(asked: Asked) -> tuple[Images, str]:
    """Return CIFAR-100's images where they are at hand, else noise; and which it is."""
    if SOURCE.look(asked.data).missing:
        return noise(asked.count, SOURCE), "random, of CIFAR-100's shape"
    train = SOURCE.load(asked.data).train
    assert isinstance(train, Images)
    return train.first(asked.count), "CIFAR-100"


def facts_of(device: torch.device) -> dict[str, Any]:
    """Say where, how and when."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment.describe(name, torch.get_num_threads()),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "clock": "CPU time" if device.type == "cpu" else "events on the GPU",
    }


# ---------------------------------------------------------------- what is left of it


def write(name: str, page: str, data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the page and the data."""
    stamp = re.sub(r"[-:]", "", data["facts"]["date"][:19]).replace("T", "-")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"md": page, "json": json.dumps(data, indent=1, allow_nan=False) + "\n"}
    paths = [folder / f"{name}-{stamp}.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomic(path, text.encode())
    return paths
