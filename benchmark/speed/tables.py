"""The tables of a result, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.speed.epochs import PREFETCHED
from benchmark.speed.input import InputSpeed
from benchmark.speed.ratios import (
    Parts,
    Ratio,
    Round,
    cohort_time,
    main_schedule,
    median_seconds,
    separate_time,
)
from benchmark.speed.result import CIFAR_IMAGES, PairResult, SpeedResult, goals
from benchmark.speed.trainings import CRD_PAIRS, CRD_SEEDS, crd_table_seconds
from benchmark.training.meters import Times

SPEEDUPS = {
    "main": "main phases",
    "main, unused teacher skipped": "main, unused teacher skipped",
    "whole": "whole training",
    "whole, unused teacher skipped": "whole, unused teacher skipped",
}
"""Names of ratios, and the columns that show them."""


class TextTable(NamedTuple):
    """A table whose cells are ready to print."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def render_markdown(result: SpeedResult) -> str:
    """Return a page: what was compared under which conditions, then the tables."""
    lines = ["# Speed", "", *(f"- {line}" for line in describe_conditions(result)), ""]
    for table in result_tables(result):
        lines += [f"## {table.title}", ""]
        lines += ["| " + " | ".join(table.columns) + " |"]
        lines += ["|---" + "|---:" * (len(table.columns) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        lines += ["", *([table.note, ""] if table.note else [])]
    return "\n".join(lines).rstrip() + "\n"


def describe_conditions(result: SpeedResult) -> Iterator[str]:
    """Yield lines that say what is compared, and where and how it was measured."""
    facts = result.facts
    yield "suite: all methods train together in one cohort, with one teacher pass for all"
    yield (
        "usual: one training loop for each method, with PIL and a DataLoader (no workers on a CPU, "
        "8 on a GPU), NCHW, eager float32, a teacher pass in every step; the losses are the suite's"
    )
    changed = ", with uncommitted changes" if facts["dirty"] else ""
    yield f"measured {facts['date']}, commit {(facts['commit'] or 'unknown')[:10]}{changed}"
    yield (
        f"{facts['cpu']}, {facts['cores']} cores; device {facts['device']}; torch {facts['torch']}"
    )
    loads = (f"{facts[f'load_{when}'][0]:.1f} {when}" for when in ("before", "after"))
    yield (
        f"one process, {facts['threads']} thread(s), as in jobs; load of the machine "
        f"{', '.join(loads)}; {facts['seconds']:.0f} s in all, "
        f"{facts['cpu_seconds']:.0f} s of CPU time"
    )
    yield (
        f"methods: {', '.join(facts['methods'])}; batches of {facts['batch']}; "
        f"{facts['train_images']:,} train images: {facts['images']}"
    )


# ---------------------------------------------------------------- tables


def result_tables(result: SpeedResult) -> Iterator[TextTable]:
    """Yield the tables whose measurements are there."""
    if result.pairs:
        yield from (total_table(result), part_table(result))
    if result.input:
        yield input_table(result.input)
    if result.pairs:
        yield floor_table(result)
    if any(pair.epochs for pair in result.pairs):
        yield epoch_table(result)
    if result.trainings:
        yield training_table(result)
    rows = [[g.what, g.value, g.wanted, "met" if g.met else "NOT met"] for g in goals(result)]
    columns = ["goal", "measured", "wanted", ""]
    yield TextTable("Goals", columns, rows, " ".join(goal_notes(result)))


def goal_notes(result: SpeedResult) -> Iterator[str]:
    """Yield what CUDA graphs got wrong, and that measurements are missing."""
    yield "They are meant for the default pairs, methods and batch on an otherwise idle machine."
    found = result.agreement
    if found and found.refused:
        yield f"CUDA graphs were refused: {found.refused}."
    if found and found.differing:
        yield (
            f"CUDA graphs change the numbers of {', '.join(found.differing)}: losses differ by "
            f"up to {found.losses:.1e}, relatively."
        )
    if result.input is None or result.memory is None:
        yield "Not complete: repeat the command with --into and this file's name to continue."


def total_table(result: SpeedResult) -> TextTable:
    """Speed-ups of all methods together."""
    rows = [
        [
            str(pair.pair),
            *(format_ratio(pair.ratios[name]) for name in SPEEDUPS),
            f"{pair.ratios['whole'].wall:.2f}",
            str(len(pair.rounds)),
        ]
        for pair in result.pairs
    ]
    rows.append(
        ["geometric mean", *(f"{result.mean_ratio(name):.2f}" for name in SPEEDUPS), "", ""]
    )
    note = (
        f"Usual time / suite time by {result.facts['clock']}: median of the rounds "
        "(lowest..highest). 2.00 means that the suite is twice as fast. Main phases: one step of "
        f"each method's last phase. Whole training: all {result.facts['epochs']} epochs and the "
        "initial epochs that some methods add, each phase's step weighted by its epochs. Unused "
        "teacher skipped: against usual loops that pass the teacher only where a loss reads it. "
        "Whole, wall: whole training by the wall clock."
    )
    left = {f"{k}, {p.pair}: {reason}" for p in result.pairs for k, reason in p.left_out.items()}
    note += "".join(f" Left out: {one}." for one in sorted(left))
    title = "Speed-up: M methods in one cohort against M usual loops"
    return TextTable(title, ["pair", *SPEEDUPS.values(), "whole, wall", "rounds"], rows, note)


def part_table(result: SpeedResult) -> TextTable:
    """Seconds and speed-ups of a step's parts."""
    means = [f"{result.mean_ratio(name):.2f}" for name in ("teacher", "student", "cohort")]
    rows = [part_row(pair) for pair in result.pairs]
    rows.append(["geometric mean", "", "", means[0], "", means[1], "", means[2]])
    note = (
        "Seconds: usual / suite, medians, of a batch in main phases. Student step: mean of the M "
        "methods, without input and teacher. M methods: whole steps of M usual loops / of one "
        "cohort. Cohort's share: the suite's time for the M methods in one cohort / its time for "
        "them one by one; less is better."
    )
    columns = ["pair", "M", "teacher pass, s", "speed-up", "student step, s", "speed-up"]
    return TextTable("Parts of a step", [*columns, "M methods, s", "cohort's share"], rows, note)


def part_row(pair: PairResult) -> list[str]:
    methods = [*pair.phases.values()]
    schedule, keys = main_schedule(methods), [phases[-1].key for phases in methods]

    def seconds(of: Callable[[Round], Times]) -> str:
        return f"{median_seconds(pair.rounds, of):.3f}"

    def student(parts: Parts) -> Times:
        return np.asarray(np.mean([parts[key] for key in keys], axis=0))

    teachers = seconds(lambda x: x.usual["teacher"]), seconds(lambda x: x.suite["teacher"])
    students = seconds(lambda x: student(x.usual)), seconds(lambda x: student(x.suite))
    steps = (
        seconds(lambda x: separate_time(x.usual, schedule, always_teacher=True)),
        seconds(lambda x: cohort_time(x.suite, schedule)),
    )
    ratios = [format_ratio(pair.ratios[name]) for name in ("teacher", "student", "cohort")]
    cells = [" / ".join(both) for both in (teachers, students, steps)]
    row = [cell for both in zip(cells, ratios, strict=True) for cell in both]
    return [str(pair.pair), str(len(methods)), *row]


def format_ratio(ratio: Ratio) -> str:
    """Format a median and its range."""
    return f"{ratio.median:.2f} ({ratio.low:.2f}..{ratio.high:.2f})"


def input_table(found: InputSpeed) -> TextTable:
    """The speed of the input pipelines."""
    equal = f"{'bit-equal' if found.equal else 'NOT equal'} in {found.compared} images"
    row = [f"{found.usual:,.0f}", f"{found.suite:,.0f}", format_ratio(found.ratio), equal]
    columns = ["usual, images/s", "suite, images/s", "speed-up", "pixels for the same crops"]
    return TextTable("Input pipeline on one core", columns, [row])


def floor_table(result: SpeedResult) -> TextTable:
    """How far a step is from the device's limits."""
    columns = ["pair", "GFLOP", "MB", "floor, ms", "limited by"]
    rates = result.rates
    note = (
        "For one image through the cohort. The floor is the least time in which the device could "
        f"do it. Its rates, measured now: {rates.flops / 1e9:.1f} GFLOP/s in float32 (the better "
        f"of a matrix product and a convolution), {rates.bytes / 1e9:.1f} GB/s read and written "
        "in copies. GFLOP: the teacher's forward pass, and three times that of each student. MB: "
        "each convolution's output passes through memory twice in the teacher and 12 times in a "
        "student, which assumes that all else is fused."
    )
    rows = [floor_row(pair, result) for pair in result.pairs]
    columns += ["measured, ms", "measured / floor"]
    return TextTable("Distance to the device's limits", columns, rows, note)


def floor_row(pair: PairResult, result: SpeedResult) -> list[str]:
    floor = pair.floor(result.rates)
    seconds = pair.step_seconds([*pair.phases.values()]) / result.batch
    row = [str(pair.pair), f"{floor.flops / 1e9:.2f}", f"{floor.bytes / 1e6:.1f}"]
    row += [f"{floor.seconds * 1e3:.2f}", floor.bound, f"{seconds * 1e3:.2f}"]
    return [*row, f"{seconds / floor.seconds:.2f}"]


def epoch_table(result: SpeedResult) -> TextTable:
    """Every loop in every numerics profile, for one method and for all."""
    rows = [row for pair in result.pairs for row in epoch_rows(pair, result)]
    columns = ["pair", "methods", "loop", "numerics", "ms a step", "speed-up", "time / floor"]
    note = (
        "Medians of rounds that take turns. A step: a full batch's share of an epoch, from an idle "
        "device to the end of its work: drawing the crops, all updates, the short batch; without "
        "evaluation. Main phases. usual: one loop for each method, one after the other, in steady "
        f"state (the {PREFETCHED} batches that an idle DataLoader prefetches are not counted). "
        "time / floor: the floor above is for float32; fast computes in bfloat16 and may be faster "
        "than it. waits: how often torch saw the host wait for the device in an epoch of these "
        "steps; it does not see all waits."
    )
    refused = {
        f"{pair.pair}, {times.methods} in {times.numerics}: {times.refused}"
        for pair in result.pairs
        for times in (pair.epochs.timed if pair.epochs else ())
        if times.refused
    }
    note += "".join(f" Not captured as CUDA graphs: {one}." for one in sorted(refused))
    return TextTable("Whole epochs: time per step", [*columns, "waits"], rows, note)


def epoch_rows(pair: PairResult, result: SpeedResult) -> Iterator[list[str]]:
    if pair.epochs is None:
        return
    for times in sorted(pair.epochs.timed, key=lambda times: times.methods):
        floor = pair.floor(result.rates, times.methods).seconds * result.batch
        yield [
            str(pair.pair),
            pair.epochs.alone if times.methods == 1 else str(times.methods),
            f"{times.loop}, refused" if times.refused else times.loop,
            "-" if times.loop == "usual" else times.numerics,
            f"{times.median * 1e3:.2f}",
            f"{pair.epochs.speedup(times):.2f}",
            f"{times.median / floor:.2f}",
            "-" if times.waits is None else str(times.waits),
        ]


def training_table(result: SpeedResult) -> TextTable:
    """What whole trainings would take."""
    steps = CIFAR_IMAGES / result.batch
    rows = [
        [
            str(one.pair),
            str(one.runs),
            str(one.epochs),
            f"{one.numerics}, refused" if one.refused else one.numerics,
            f"{one.step * 1e3:.2f}",
            f"{one.evaluation * 1e3:.0f}",
            f"{one.seconds(steps) / 60:.1f}",
        ]
        for one in result.trainings
    ]
    for numerics in sorted({one.numerics for one in result.trainings}):
        total = crd_table_seconds(result.trainings, numerics, steps)
        if total is not None:
            name = f"all {len(CRD_PAIRS)} pairs, {CRD_SEEDS} seeds"
            rows.append([name, "", "", numerics, "", "", f"{total / 60:.0f}"])
    note = (
        "One cohort of scratch and the methods that apply to the pair, by CUDA graphs. Measured: "
        "ms of a step (as above) and of evaluating all runs on the test images after an epoch. "
        f"Computed: minutes, from the steps of {CIFAR_IMAGES:,} images and the epochs of the "
        "longest run, as if every epoch had all runs in their main phases. Not included: training "
        "the teacher, starting the job. A baseline that two pairs share is counted twice."
    )
    columns = ["pair", "runs", "epochs", "numerics", "ms a step", "ms of evaluation", "minutes"]
    return TextTable("Whole trainings (computed)", columns, rows, note)
