"""The measurements of one call, the most important first: each is written down when it is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.config.errors import UserError
from benchmark.data.sets.cifar import CIFAR100
from benchmark.data.stream import Stream
from benchmark.processes.child import in_a_child
from benchmark.speed import agreement, epochs, fsp_loss, input, memory, trainings
from benchmark.speed.both_sides import Cohort, Loops, Scene
from benchmark.speed.memory import SIZES, entry_of
from benchmark.speed.ratios import Round
from benchmark.speed.reference import Pictures
from benchmark.speed.result import LONG, Memory, PairResult, Result
from benchmark.speed.roofline import Counted, counted
from benchmark.speed.saved_result import as_json
from benchmark.speed.tables import about, markdown, sheets
from benchmark.speed.trainings import TABLE
from benchmark.store.atomic import write_atomic
from benchmark.suite.rows import Entry
from benchmark.training.numerics import adopt

LEAST_ROUNDS, INPUT_ROUNDS, FLOW_ROUNDS = 2, 4, 3
SOURCE = CIFAR100


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    pairs: Sequence[tuple[str, str]]
    entries: Sequence[Entry]
    batch: int
    seconds: float
    device: str
    data: Path
    into: Path
    """The file of results: what it has is not measured again."""
    table: bool = False
    """Whether to time whole trainings of all the CRD table's pairs, not of these."""
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

    @property
    def name(self) -> str:
        """As it is said."""
        return f"{self.teacher} -> {self.student}"

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


def captures(device: torch.device) -> bool:
    """Whether jobs on a device capture their steps, so that whole epochs are to be timed."""
    return device.type == "cuda"


class Work:
    """Measurements under way: the most important first, each written down when it is there."""

    def __init__(self, asked: Asked, scene: Scene, watch: Watch, found: Result) -> None:
        self.asked, self.scene, self.watch = asked, scene, watch
        self.result, self.before = found, found.facts
        self.stream, self.pictures = scene.stream(), Pictures(scene.images, SOURCE)
        self.benches: list[Bench] = []

    def keep(self, result: Result) -> None:
        """Write down what there is."""
        spent = {
            "seconds": self.before["seconds"] + self.watch.elapsed,
            "cpu_seconds": self.before["cpu_seconds"] + time.process_time(),
            "load_after": [*os.getloadavg()],
        }
        self.result = replace(result, facts={**result.facts, **spent})
        page = markdown(about(self.result), sheets(self.result))
        write(self.asked.into, page, as_json(self.result))

    def done(self) -> Result:
        """Measure what is missing; return everything."""
        pairs, graphs = self.asked.pairs, captures(self.scene.device)
        if graphs:
            pairs = sorted(pairs, key=lambda pair: " -> ".join(pair) != LONG)
            self.agree(pairs[0])
        for pair in pairs:
            self.pair(pair)
        if graphs:
            self.trainings(TABLE if self.asked.table else pairs)
        self.rest()
        self.more_rounds()
        return self.result

    def agree(self, pair: tuple[str, str]) -> None:
        """See that captured steps are right before they are timed."""
        if self.result.agreement is None:
            self.watch.say(f"{' -> '.join(pair)}: the same losses by graphs and without")
            found = agreement.measure(self.scene, pair, self.company(pair), epochs.LOOPS["graphs"])
            self.keep(replace(self.result, agreement=found))

    def company(self, pair: tuple[str, str]) -> list[Entry]:
        """Return scratch and the methods that apply to a pair."""
        labels = [entry.label for entry in self.asked.entries]
        entries = [*self.asked.entries, *([entry_of("scratch")] * ("scratch" not in labels))]
        return [entry for entry in entries if not self.scene.mismatch(entry, *pair)]

    def pair(self, pair: tuple[str, str]) -> None:
        """Measure both sides of a pair, and what it needs once."""
        if pair in [(one.teacher, one.student) for one in self.result.pairs]:
            return
        one = bench(self.scene, self.stream, self.pictures, pair, self.asked.entries, self.watch)
        for number in range(LEAST_ROUNDS):
            self.watch.say(f"{one.name}: round {number + 1}")
            one.round()
        self.benches.append(one)
        found = result_of(one, self.scene, self.watch)
        self.keep(replace(self.result, pairs=[*self.result.pairs, found]))

    def trainings(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Time whole cohorts of six, as jobs would train them."""
        for pair in pairs:
            if pair not in [(one.teacher, one.student) for one in self.result.trainings]:
                self.watch.say(f"{' -> '.join(pair)}: a whole cohort, by graphs")
                found = trainings.measure(
                    self.scene, pair, self.company(pair), epochs.LOOPS["graphs"]
                )
                known = [*self.result.trainings, *found]
                adopt("strict")
                self.keep(replace(self.result, trainings=known))

    def rest(self) -> None:
        """Measure what does not depend on the device's loop: input and memory."""
        if self.result.input is None:
            self.watch.say("input")
            found = input.measure(self.stream, self.pictures, INPUT_ROUNDS)
            self.keep(replace(self.result, input=found))
        if self.result.memory is None:
            self.keep(replace(self.result, memory=self.memory()))

    def memory(self) -> Memory:
        """Return the MiB that the methods and scratch take on the largest pair."""
        largest = max(self.result.pairs, key=lambda one: one.counted[1].maps)
        labels = ["scratch", *(label for label in largest.methods if label != "scratch")]
        of = f"a cohort of {len(labels)}, {largest.name}"
        self.watch.say(f"memory of {of}")
        pair, device = (largest.teacher, largest.student), str(self.scene.device)
        count = self.asked.count
        return Memory(in_a_child(memory.peak, *pair, labels, self.asked.batch, device, count), of)

    def more_rounds(self) -> None:
        """Go round the pairs of this call as long as a round still fits."""

        def due(one: Bench) -> bool:
            return self.watch.elapsed + one.lasted < self.asked.seconds

        while any(map(due, self.benches)):
            for one in filter(due, self.benches):
                self.watch.say(f"{one.name}: round {len(one.rounds) + 1}")
                one.round()
        rounds = {one.name: one.rounds for one in self.benches}
        pairs = [replace(one, rounds=rounds.get(one.name, one.rounds)) for one in self.result.pairs]
        self.keep(replace(self.result, pairs=pairs))


# ---------------------------------------------------------------- a pair


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


def result_of(one: Bench, scene: Scene, watch: Watch) -> PairResult:
    """Measure what a pair needs once, and sum up."""
    pair, whole = (one.teacher, one.student), None
    if captures(scene.device):
        watch.say(f"{one.name}: whole epochs, by graphs and without")
        whole = epochs.measure(scene, one.loops, pair, one.entries)
        adopt("strict")
    watch.say(f"{one.name}: FSP")
    return PairResult(
        one.teacher,
        one.student,
        one.methods,
        one.left_out,
        one.cohort.plans,
        list(one.rounds),
        fsp_loss.measure(*pair, SOURCE, scene.device, FLOW_ROUNDS),
        one.counted,
        whole,
    )


# ---------------------------------------------------------------- what is left of it


def write(path: Path, page: str, data: Mapping[str, Any]) -> None:
    """Write the data, and the page beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    for name, content in ((path.with_suffix(".md"), page), (path, text)):
        write_atomic(name, content.encode())
