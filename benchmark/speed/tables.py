"""The tables on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.speed.epochs import PREFETCHED
from benchmark.speed.input import Input
from benchmark.speed.ratios import Figure, apart, geometric_mean, main_course, middle, together
from benchmark.speed.result import IMAGES, PairResult, Result, goals
from benchmark.speed.roofline import floor
from benchmark.speed.trainings import SEEDS, TABLE, whole_table

TOTALS = "main", "main, unused teacher skipped", "whole", "whole, unused teacher skipped"
STYLES = {"met": "green", "NOT met": "red"}


class Sheet(NamedTuple):
    """A table, for a terminal or a page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def show(about: Iterable[str], tables: Iterable[Sheet], console: Console) -> None:
    """Print a page."""
    console.print("\n".join(about), soft_wrap=True)
    for sheet in tables:
        table = Table(title=Text(sheet.title), title_justify="left", caption_justify="left")
        for i, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        table.caption = Text(sheet.note)
        console.print(table)


def markdown(about: Iterable[str], tables: Iterable[Sheet]) -> str:
    """Return a page."""
    lines = ["# Speed", "", *(f"- {line}" for line in about), ""]
    for sheet in tables:
        lines += [f"## {sheet.title}", "", *grid(sheet), ""]
        lines += [sheet.note, ""] if sheet.note else []
    return "\n".join(lines).rstrip() + "\n"


def grid(sheet: Sheet) -> Iterator[str]:
    """Yield a table's lines."""
    yield "| " + " | ".join(sheet.columns) + " |"
    yield "|---" + "|---:" * (len(sheet.columns) - 1) + "|"
    for row in sheet.rows:
        yield "| " + " | ".join(row) + " |"


# ---------------------------------------------------------------- where and how


def about_device(of: Mapping[str, Any]) -> Iterator[str]:
    """Say where and when."""
    changed = ", changed since" if of["dirty"] else ""
    yield f"{of['date']}, commit {(of['commit'] or 'unknown')[:10]}{changed}"
    yield f"{of['cpu']}, {of['cores']} cores; device {of['device']}; torch {of['torch']}"


def about(result: Result) -> Iterator[str]:
    """Say in a few lines where and how this was measured."""
    of = result.facts
    yield from about_device(of)
    loads = (f"{of[f'load_{when}'][0]:.1f} {when}" for when in ("before", "after"))
    yield (
        f"{of['threads']} thread, as jobs compute; one process; load {', '.join(loads)}; "
        f"{of['seconds']:.0f} s in all, {of['cpu_seconds']:.0f} s of CPU time"
    )
    yield f"batch {of['batch']}; {of['train_images']:,} train images: {of['images']}"
    yield (
        "usual: one loop a method, PIL and DataLoader (workers: none on a CPU, 8 on a GPU), NCHW, "
        "eager float32, the "
        "teacher in every step; the losses are the suite's own on both sides"
    )


# ---------------------------------------------------------------- tables


def sheets(result: Result) -> Iterator[Sheet]:
    """Yield the tables of what there is."""
    if result.pairs:
        yield from (parts(result), totals(result), seconds(result))
    if result.input:
        yield inputs(result.input)
    if result.pairs:
        yield floors(result)
    if any(pair.epochs for pair in result.pairs):
        yield whole_epochs(result)
    if result.trainings:
        yield whole_trainings(result)
    rows = [[g.what, g.value, g.wanted, "met" if g.met else "NOT met"] for g in goals(result)]
    yield Sheet("Goals", ["", "measured", "goal", ""], rows, "".join(left_open(result)))


def left_open(result: Result) -> Iterator[str]:
    """Say what graphs got wrong, and what is left to do."""
    found = result.agreement
    if found and (found.refused or found.differing):
        yield f"Graphs: {found.refused or 'other numbers of ' + ', '.join(found.differing)}, "
        yield f"losses by {found.losses:.1e} at most. "
    if result.input is None or result.memory is None:
        yield "Not complete: give the command again with --into and this page's file to go on."


def parts(result: Result) -> Sheet:
    """Times as fast, part by part."""
    rows = [
        [
            pair.name,
            *(told(pair.figures[name]) for name in ("teacher", "student")),
            told(pair.flow.figure) if pair.flow else "-",
            told(pair.figures["cohort"]),
        ]
        for pair in result.pairs
    ]
    flows = [pair.flow.figure.median for pair in result.pairs if pair.flow]
    means = [f"{result.mean(name):.2f}" for name in ("teacher", "student", "cohort")]
    means.insert(2, f"{geometric_mean(flows):.2f}" if flows else "-")
    note = (
        f"Usual / suite, median of paired ratios (lowest..highest), by {result.facts['clock']}. "
        "cohort is a share: cost(M) / the M costs of one method alone, both the suite's own. "
        "FSP loss: broadcasting / batched product, forward and backward, in batches of 8."
    )
    columns = ["pair", "teacher", "student step", "FSP loss", "cohort"]
    return Sheet("Parts: times as fast", columns, [*rows, ["geometric mean", *means]], note)


def totals(result: Result) -> Sheet:
    """Times as fast, all together."""
    rows = [
        [
            pair.name,
            *(told(pair.figures[name]) for name in TOTALS),
            f"{pair.figures['whole'].wall:.2f}",
            str(len(pair.rounds)),
        ]
        for pair in result.pairs
    ]
    rows.append(["geometric mean", *(f"{result.mean(name):.2f}" for name in TOTALS), "", ""])
    note = (
        "As above; the last but one column by the wall's clock. main: the methods' last phases, "
        f"one step each. whole: all {result.facts['epochs']} epochs and the initialising ones on "
        "top, each phase's step weighted by its epochs. unused teacher skipped: against loops that "
        "pass the teacher only where the loss reads it."
    )
    left = {f"{k}, {p.name}: {reason}" for p in result.pairs for k, reason in p.left_out.items()}
    note += "".join(f" Left out: {one}." for one in sorted(left))
    columns = ["pair", *TOTALS, "whole, wall", "rounds"]
    return Sheet("M methods in one cohort against M loops: times as fast", columns, rows, note)


def told(figure: Figure) -> str:
    """Write a median and its spread."""
    return f"{figure.median:.2f} ({figure.low:.2f}..{figure.high:.2f})"


def seconds(result: Result) -> Sheet:
    """What the ratios are of."""
    sides = [f"{part}, {side}" for part in ("teacher", "student") for side in ("usual", "suite")]
    columns = ["pair", "M", *sides, "M loops, usual", "cohort of M, suite"]
    note = f"Batch {result.batch}; main phases; by {result.facts['clock']}; students: mean of M."
    return Sheet("Seconds a step", columns, [*map(seconds_of, result.pairs)], note)


def seconds_of(pair: PairResult) -> list[str]:
    """Return a pair's row."""
    course, keys = main_course(pair.plans), [plan[-1].key for plan in pair.plans]
    values = [
        middle(pair.rounds, lambda one: one.usual["teacher"]),
        middle(pair.rounds, lambda one: one.suite["teacher"]),
        middle(pair.rounds, lambda one: np.mean([one.usual[key] for key in keys], axis=0)),
        middle(pair.rounds, lambda one: np.mean([one.suite[key] for key in keys], axis=0)),
        middle(pair.rounds, lambda one: apart(one.usual, course, always=True)),
        middle(pair.rounds, lambda one: together(one.suite, course)),
    ]
    return [pair.name, str(len(keys)), *(f"{value:.3f}" for value in values)]


def inputs(found: Input) -> Sheet:
    """The images' way."""
    equal = f"{'bit-equal' if found.equal else 'NOT equal'} in {found.compared} images"
    row = [f"{found.usual:,.0f}", f"{found.suite:,.0f}", told(found.figure), equal]
    columns = ["usual, images/s", "suite, images/s", "times as fast", "pixels for the same draws"]
    return Sheet("Input, one core", columns, [row])


def floors(result: Result) -> Sheet:
    """How far from what the device could do."""
    columns = ["pair", "GFLOP", "MB, all fused", "MB, eager forward", "floor, ms", "bound by"]
    rates = result.rates
    note = (
        f"Of one image through the cohort. The device, measured now: {rates.flops / 1e9:.1f} "
        "GFLOP/s in float32 (the better of a matrix product and a convolution), "
        f"{rates.bytes / 1e9:.1f} GB/s read and written in copies. GFLOP: teacher's forward, three "
        "times each student's. MB, all fused: 2 passes over every convolution's output of the "
        "teacher, 12 of a student (an assumption). MB, eager forward: what the operations of one "
        "forward pass as dispatched read and write, teacher + student."
    )
    rows = [floors_of(pair, result) for pair in result.pairs]
    return Sheet("Distance to the floor", [*columns, "measured, ms", "over floor"], rows, note)


def floors_of(pair: PairResult, result: Result) -> list[str]:
    """Return a pair's row."""
    course, (teacher, student) = main_course(pair.plans), pair.counted
    low = floor(teacher, student, len(pair.plans), result.rates)
    took = middle(pair.rounds, lambda one: together(one.suite, course)) / result.batch
    row = [f"{low.flops / 1e9:.2f}", f"{low.bytes / 1e6:.1f}"]
    row += [f"{teacher.eager / 1e6:.1f} + {student.eager / 1e6:.1f}"]
    row += [f"{low.seconds * 1e3:.2f}", low.bound, f"{took * 1e3:.2f}"]
    return [pair.name, *row, f"{took / low.seconds:.2f}"]


def whole_epochs(result: Result) -> Sheet:
    """Every loop in every profile, alone and together."""
    rows = [row for pair in result.pairs if pair.epochs for row in epochs_of(pair, result)]
    columns = ["pair", "methods", "loop", "numerics", "ms a step", "times as fast", "over floor"]
    note = (
        "Medians by the wall's clock, in turns; a step: a full batch's worth of an epoch's time, "
        "from its table of draws to its last update, the short batch included; without "
        "evaluation. Main phases. usual: a loop a method, one after the other, in steady state "
        f"({PREFETCHED} batches that its DataLoader has ready are not counted). over floor: the "
        "floor above, which is in float32; fast computes in bfloat16 and may come below it. waits: "
        "how often torch saw the host wait for the device in an epoch of these steps; it does not "
        "notice all of them."
    )
    told = {
        f"{pair.name}, {key.methods} in {key.numerics}: {timed.refused}"
        for pair in result.pairs
        for key, timed in (pair.epochs.timed.items() if pair.epochs else ())
        if timed.refused
    }
    note += "".join(f" Not captured: {one}." for one in sorted(told))
    return Sheet("Whole steps in an epoch", [*columns, "waits"], rows, note)


def epochs_of(pair: PairResult, result: Result) -> Iterator[list[str]]:
    """Yield a pair's rows."""
    found = pair.epochs
    assert found
    for key, timed in sorted(found.timed.items(), key=lambda item: item[0].methods):
        low = floor(*pair.counted, key.methods, result.rates).seconds * result.batch
        yield [
            pair.name,
            found.alone if key.methods == 1 else str(key.methods),
            f"{key.loop}, refused" if timed.refused else key.loop,
            "-" if key.loop == "usual" else key.numerics,
            f"{timed.median * 1e3:.2f}",
            f"{found.faster(key):.2f}",
            f"{timed.median / low:.2f}",
            "-" if timed.waits is None else str(timed.waits),
        ]


def whole_trainings(result: Result) -> Sheet:
    """What cohorts would take to their end."""
    steps = IMAGES / result.batch
    rows = [
        [
            one.name,
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
        total = whole_table(result.trainings, numerics, steps)
        if total is not None:
            name = f"all {len(TABLE)} pairs x {SEEDS} seeds"
            rows.append([name, "", "", numerics, "", "", f"{total / 60:.0f}"])
    note = (
        "Scratch and the methods that apply to the pair in one cohort, by graphs. Measured: ms of "
        "a step (as above) and of measuring all of them on the test images after an epoch. "
        f"Computed: minutes, by the steps of {IMAGES:,} images and the epochs of the longest "
        "member, every epoch as if all were there and in their main phases. Teachers are not in "
        "it, nor is the start of a job; a baseline that two pairs share is in it twice. To train "
        f"one of them: {COMMAND}"
    )
    columns = ["pair", "runs", "epochs", "numerics", "ms a step", "ms of evaluation", "minutes"]
    return Sheet("Whole trainings", columns, rows, note)


COMMAND = (
    "`python run_all.py cifar100 --only student=resnet8x4,method=scratch,method=kd,method=fitnets,"
    "method=at,method=fsp,method=ab,seed=0 --set numerics=fast`"
)
