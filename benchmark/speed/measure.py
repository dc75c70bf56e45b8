"""The measurements of one call, most important first; each result is written at once.

So a call that is cut off loses at most one measurement, and the next call continues after it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmark.config.errors import UserError
from benchmark.data.sets.cifar import CIFAR100
from benchmark.data.stream import Stream
from benchmark.processes.child import run_in_child_process
from benchmark.speed import agreement, epochs, input, memory, trainings
from benchmark.speed.both_sides import Setting, SuiteCohort, UsualLoops
from benchmark.speed.memory import CIFAR_SIZES, PeakMemory, parse_method_label
from benchmark.speed.ratios import PairNames, Round
from benchmark.speed.reference import PilImages
from benchmark.speed.result import LONG_PAIR, PairResult, SpeedResult
from benchmark.speed.roofline import count_network, measure_rates
from benchmark.speed.saved_result import write_result
from benchmark.speed.timing import measure_in_turns
from benchmark.suite.rows import Row
from benchmark.training.numerics import apply_profile

LEAST_ROUNDS, INPUT_ROUNDS = 2, 4
SOURCE = CIFAR100


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    pairs: Sequence[PairNames]
    entries: Sequence[Row]
    batch: int
    seconds: float
    device: str
    data: Path
    into: Path
    """The file of results; what it already has is not measured again."""
    crd_table: bool = False
    """Whether to time whole trainings of ``CRD_PAIRS`` instead of ``pairs``."""
    count: int = CIFAR_SIZES[0]
    """Train images; tests use fewer."""


class PairTimer:
    """Both sides of a pair, ready to be measured, and the rounds so far."""

    def __init__(
        self,
        setting: Setting,
        stream: Stream,
        pictures: PilImages,
        pair: PairNames,
        entries: Sequence[Row],
    ) -> None:
        self.pair = pair
        reasons = {entry.label: setting.mismatch(entry, pair) for entry in entries}
        self.left_out = {label: reason for label, reason in reasons.items() if reason}
        self.entries = [entry for entry in entries if entry.label not in self.left_out]
        if not any(entry.spec.kind.needs_teacher for entry in self.entries):
            raise UserError(
                f"{pair}: none of the methods that apply to this pair uses a teacher; "
                "add one to --methods"
            )
        self.cohort = SuiteCohort(setting, stream, pair, self.entries)
        self.loops = UsualLoops(setting, pictures, pair, self.entries)
        self.cohort.warm_up()
        self.loops.warm_up()
        self.rounds: list[Round] = []
        self.round_seconds = 0.0
        """Of the last round, by the wall clock."""

    def measure_round(self) -> None:
        """Measure a step of both sides."""
        start = time.perf_counter()
        number = len(self.rounds)
        usual, suite = measure_in_turns(number, self.loops.measure, self.cohort.measure)
        self.rounds.append(Round(usual, suite))
        self.round_seconds = time.perf_counter() - start


def uses_graphs(device: torch.device) -> bool:
    """Return whether jobs on a device use CUDA graphs, so that whole epochs are to be timed."""
    return device.type == "cuda"


class Measurement:
    """A call's measurements, starting from the result that earlier calls have left, if any."""

    def __init__(
        self,
        request: Request,
        setting: Setting,
        facts: Mapping[str, Any],
        earlier: SpeedResult | None,
        console: Console,
    ) -> None:
        self.request, self.setting, self.console = request, setting, console
        self.start = time.perf_counter()
        if earlier is None:
            self.announce("rates of the device")
            rates = measure_rates(setting.device)
            earlier = SpeedResult({**facts, "seconds": 0.0, "cpu_seconds": 0.0}, rates)
        else:
            self.announce(f"continuing {request.into}: what it has is not measured again")
        self.result, self.earlier_facts = earlier, earlier.facts
        self.stream, self.pictures = setting.stream(), PilImages(setting.images, SOURCE)
        self.timers: list[PairTimer] = []

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def announce(self, text: str) -> None:
        """Print what is measured next. There is no progress bar: drawing it would be measured."""
        self.console.print(f"[{self.elapsed:4.0f} s] {text}", markup=False, soft_wrap=True)

    def save(self, result: SpeedResult) -> None:
        """Keep a result and write it to the file."""
        spent = {
            "seconds": self.earlier_facts["seconds"] + self.elapsed,
            "cpu_seconds": self.earlier_facts["cpu_seconds"] + time.process_time(),
            "load_after": [*os.getloadavg()],
        }
        self.result = replace(result, facts={**result.facts, **spent})
        write_result(self.request.into, self.result)

    def run(self) -> SpeedResult:
        """Measure what is missing; return everything."""
        pairs = self.request.pairs
        if uses_graphs(self.setting.device):
            pairs = sorted(pairs, key=lambda pair: pair != LONG_PAIR)
            self.compare_graphs(pairs[0])
        for pair in pairs:
            self.measure_pair(pair)
        if uses_graphs(self.setting.device):
            for pair in trainings.CRD_PAIRS if self.request.crd_table else pairs:
                self.time_training(pair)
        self.measure_input()
        self.measure_memory()
        self.measure_more_rounds()
        return self.result

    def compare_graphs(self, pair: PairNames) -> None:
        """Check that CUDA graphs compute the right numbers, before they are timed."""
        if self.result.agreement is None:
            self.announce(f"{pair}: comparing losses with and without CUDA graphs")
            found = agreement.measure_agreement(
                self.setting, pair, self.cohort_entries(pair), epochs.LOOPS["graphs"]
            )
            self.save(replace(self.result, agreement=found))

    def cohort_entries(self, pair: PairNames) -> list[Row]:
        """Return scratch and the methods that apply to a pair."""
        entries = [*self.request.entries]
        if "scratch" not in [entry.label for entry in entries]:
            entries.append(parse_method_label("scratch"))
        return [entry for entry in entries if not self.setting.mismatch(entry, pair)]

    def measure_pair(self, pair: PairNames) -> None:
        """Measure the least number of rounds of a pair and, on a GPU, its whole epochs."""
        if pair in [one.pair for one in self.result.pairs]:
            return
        self.announce(f"{pair}: building")
        timer = PairTimer(self.setting, self.stream, self.pictures, pair, self.request.entries)
        for number in range(LEAST_ROUNDS):
            self.announce(f"{pair}: round {number + 1}")
            timer.measure_round()
        self.timers.append(timer)
        whole = None
        if uses_graphs(self.setting.device):
            self.announce(f"{pair}: whole epochs, with and without CUDA graphs")
            whole = epochs.measure_epochs(self.setting, timer.loops, pair, timer.entries)
            apply_profile("strict")
        found = PairResult(
            pair,
            timer.left_out,
            timer.cohort.phases,
            [*timer.rounds],
            count_network(pair.teacher, SOURCE),
            count_network(pair.student, SOURCE),
            whole,
        )
        self.save(replace(self.result, pairs=[*self.result.pairs, found]))

    def time_training(self, pair: PairNames) -> None:
        """Time a cohort of scratch and the pair's methods, as jobs would train it."""
        if pair in [one.pair for one in self.result.trainings]:
            return
        self.announce(f"{pair}: a whole cohort by CUDA graphs")
        found = trainings.measure_trainings(self.setting, pair, self.cohort_entries(pair))
        known = [*self.result.trainings, *found]
        apply_profile("strict")
        self.save(replace(self.result, trainings=known))

    def measure_input(self) -> None:
        """Measure the input pipelines."""
        if self.result.input is None:
            self.announce("input pipeline")
            found = input.measure_input(self.stream, self.pictures, INPUT_ROUNDS)
            self.save(replace(self.result, input=found))

    def measure_memory(self) -> None:
        """Measure the memory of a cohort of scratch and all methods, on the largest pair."""
        if self.result.memory is not None:
            return
        largest = max(self.result.pairs, key=lambda one: one.student_cost.maps)
        labels = ["scratch", *(label for label in largest.phases if label != "scratch")]
        of = f"a cohort of {len(labels)}, {largest.pair}"
        self.announce(f"memory of {of}")
        batch, device = self.request.batch, str(self.setting.device)
        count = self.request.count
        mib = run_in_child_process(
            memory.peak_memory_mib, largest.pair, labels, batch, device, count
        )
        self.save(replace(self.result, memory=PeakMemory(mib, of)))

    def measure_more_rounds(self) -> None:
        """Measure more rounds of this call's pairs, as long as another one fits in the time."""

        def fits(timer: PairTimer) -> bool:
            return self.elapsed + timer.round_seconds < self.request.seconds

        while any(map(fits, self.timers)):
            for timer in filter(fits, self.timers):
                self.announce(f"{timer.pair}: round {len(timer.rounds) + 1}")
                timer.measure_round()
        rounds = {timer.pair: timer.rounds for timer in self.timers}
        pairs = [replace(one, rounds=rounds.get(one.pair, one.rounds)) for one in self.result.pairs]
        self.save(replace(self.result, pairs=pairs))
