"""What has been measured so far, and whether it meets the goals for the suite's speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.speed.agreement import Agreement
from benchmark.speed.epochs import PairEpochs
from benchmark.speed.input import InputSpeed
from benchmark.speed.memory import PeakMemory
from benchmark.speed.ratios import (
    MethodPhases,
    PairNames,
    Ratio,
    Round,
    cohort_time,
    geometric_mean,
    main_schedule,
    median_seconds,
    pair_ratios,
)
from benchmark.speed.roofline import DeviceRates, Floor, NetworkCost, compute_floor
from benchmark.speed.trainings import CRD_PAIRS, CRD_SEEDS, TrainingTime, crd_table_seconds
from benchmark.training.numerics import PROFILES


@dataclass(frozen=True)
class PairResult:
    """The measurements of one pair of networks."""

    pair: PairNames
    left_out: Mapping[str, str]
    """Methods that do not apply to the pair, and why."""
    phases: Mapping[str, MethodPhases]
    """By method."""
    rounds: Sequence[Round]
    teacher_cost: NetworkCost
    student_cost: NetworkCost
    epochs: PairEpochs | None = None
    """Whole epochs; only measured on a GPU."""

    @property
    def ratios(self) -> dict[str, Ratio]:
        """The pair's ratios by name."""
        return pair_ratios(self.rounds, [*self.phases.values()])

    def step_seconds(self, methods: Sequence[MethodPhases]) -> float:
        """Return the seconds of a step of a cohort of some methods, in their main phases."""
        schedule = main_schedule(methods)
        return median_seconds(self.rounds, lambda one: cohort_time(one.suite, schedule))

    def floor(self, rates: DeviceRates, learners: int | None = None) -> Floor:
        """Return the least time of an image; ``learners``: how many train, by default all."""
        count = learners or len(self.phases)
        return compute_floor(self.teacher_cost, self.student_cost, count, rates)


@dataclass(frozen=True)
class SpeedResult:
    """All measurements so far."""

    facts: Mapping[str, Any]
    """Machine, threads, load, versions, date, and what was asked for."""
    rates: DeviceRates
    pairs: Sequence[PairResult] = ()
    input: InputSpeed | None = None
    memory: PeakMemory | None = None
    agreement: Agreement | None = None
    """Only measured on a GPU."""
    trainings: Sequence[TrainingTime] = ()
    """Only measured on a GPU."""

    @property
    def batch(self) -> int:
        """Images in a batch."""
        return int(self.facts["batch"])

    def mean_ratio(self, name: str) -> float:
        """Return the geometric mean of a ratio over the pairs."""
        return geometric_mean([pair.ratios[name].median for pair in self.pairs])

    @property
    def input_shares(self) -> dict[str, float]:
        """The input pipeline's share of a step, in the shortest step that was measured."""
        if not self.pairs or self.input is None:
            return {}
        cohort = min(pair.step_seconds([*pair.phases.values()]) for pair in self.pairs)
        alone = min(pair.step_seconds([x]) for pair in self.pairs for x in pair.phases.values())
        seconds = self.input.batch_seconds
        return {"a cohort": seconds / cohort, "one method alone": seconds / alone}


# ---------------------------------------------------------------- goals

CIFAR_IMAGES = 50_000
"""Train images of CIFAR-100."""
LONG_PAIR = PairNames("resnet32x4", "resnet8x4")
"""The pair whose whole training has a goal of its own."""


@dataclass(frozen=True)
class Goal:
    """A measured value and what it should be."""

    what: str
    value: str
    wanted: str
    met: bool


def goals(result: SpeedResult) -> Iterator[Goal]:
    """Yield the goals whose measurements are there."""
    if result.agreement:
        found = result.agreement
        what = f"losses and weights with and without CUDA graphs, {found.steps} steps, {found.of}"
        equal = not found.differing and not found.refused
        yield Goal(what, "equal" if equal else "NOT equal", "bit-equal", equal)
    if result.pairs:
        count = max(len(pair.phases) for pair in result.pairs)
        for name, phases in (("main", "main phases"), ("whole", "all epochs of all phases")):
            what = f"speed-up of {count} methods together, geometric mean of the pairs, {phases}"
            yield speedup_goal(what, result.mean_ratio(name), 1.8)
    if result.input:
        yield speedup_goal("speed-up of the input on one core", result.input.ratio.median, 20)
        equal = result.input.equal
        value = f"{'equal' if equal else 'NOT equal'} in {result.input.compared} images"
        yield Goal("input: pixels for the same crops and flips", value, "bit-equal", equal)
    for whose, share in result.input_shares.items():
        what = f"input's share of the shortest step of {whose}"
        yield Goal(what, f"{share:.2%}", "< 0.30%", share < 0.003)
    if result.memory:
        gib = result.memory.mib / 1024
        yield Goal(f"peak memory, {result.memory.of}", f"{gib:.2f} GiB", "< 4 GiB", gib < 4)
    yield from epoch_goals(result)
    yield from training_goals(result)


def epoch_goals(result: SpeedResult) -> Iterator[Goal]:
    """Yield the goals for whole epochs by CUDA graphs."""
    measured = [pair.epochs for pair in result.pairs if pair.epochs]
    if not measured:
        return
    most = max(one.methods for one in measured)
    for numerics in PROFILES:
        for what, single, least in (("a single run", True, 4), (f"{most} methods", False, 12)):
            speedups = [
                one.speedup(one.find("graphs", numerics, 1 if single else one.methods))
                for one in measured
            ]
            words = f"speed-up of {what}, whole epochs by CUDA graphs in {numerics}"
            mean = geometric_mean(speedups)
            yield speedup_goal(f"{words}, geometric mean of the pairs", mean, least)
    waits = [
        times.waits
        for one in measured
        for times in one.timed
        if times.loop == "graphs" and times.waits is not None
    ]
    if waits:
        # One more: torch does not notice the reading of the epoch's sums.
        count = max(waits) + 1
        what = "host synchronisations in an epoch by CUDA graphs, reading its sums included"
        yield Goal(what, str(count), "<= 2", count <= 2)


def training_goals(result: SpeedResult) -> Iterator[Goal]:
    """Yield the goals for whole trainings, computed from epochs and evaluations."""
    steps = CIFAR_IMAGES / result.batch
    for one in result.trainings:
        if one.pair == LONG_PAIR:
            minutes = one.seconds(steps) / 60
            what = f"whole training of a cohort of {one.runs} in {one.numerics}, {LONG_PAIR}"
            yield Goal(f"{what}, computed", f"{minutes:.1f} min", "< 8 min", minutes < 8)
    for numerics in PROFILES:
        seconds = crd_table_seconds(result.trainings, numerics, steps)
        if seconds is not None:
            hours = seconds / 3600
            what = f"the CRD table's {len(CRD_PAIRS)} pairs of one family, {CRD_SEEDS} seeds"
            wanted = "< 3 h (stretch 1.5)"
            yield Goal(f"{what}, in {numerics}, computed", f"{hours:.2f} h", wanted, hours < 3)


def speedup_goal(what: str, value: float, least: float) -> Goal:
    """Return the goal of being at least ``least`` times as fast."""
    return Goal(what, f"{value:.2f}x", f">= {least:g}x", value >= least)
