"""The verb `methods`: describe the methods, or check which of them can distil a pair."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import methods as registry
from benchmark import models
from benchmark.cli.console import DONE, make_console
from benchmark.config.errors import UserError
from benchmark.data import find_data_set
from benchmark.suite.dry_run import NetworkPair, PhaseFacts, dry_run_method, mismatch_reason
from benchmark.suite.rows import Row, format_value, parse_row
from methods.interface import Budget
from methods.registry.check import BadMethod

COMMON_PAIR = "resnet56", "resnet20"
"""A teacher and a student with equal widths and stages, which every method can distil."""
EPOCHS, BATCH_SIZE = 240, 64


def methods(options: argparse.Namespace) -> int:
    """List the methods with their papers, phases, parameters and presets, or check a pair."""
    print_methods(
        options.names,
        options.pair,
        options.dataset,
        options.data_root,
        options.plugins,
        make_console(),
    )
    return DONE


def print_methods(
    names: Sequence[str],
    pair: str | None,
    dataset: str,
    root: Path,
    plugins: Sequence[Path],
    console: Console,
) -> None:
    """Print a card for each method or, with ``pair``, a table of those that can distil it.

    Raises UserError for unknown names and for plug-ins that are wrong.
    """
    try:
        for plugin in plugins:
            registry.add_file(plugin.resolve())
        entries = [parse_method(name) for name in names or registry.names()]
        if pair is None:
            for entry in entries:
                console.print(method_card(entry), highlight=False)
            console.print(
                f"Epochs are for a recipe of {EPOCHS} epochs; initialising epochs come on top.",
                style="dim",
            )
        else:
            console.print(applicability_table(entries, parse_pair(pair, dataset, root)))
    except BadMethod as error:
        raise UserError(str(error)) from error


def parse_method(name: str) -> Row:
    """Return the method of a name such as `ab@crd`; in a composition every weight is 1.

    Raises UserError if there is no such method.
    """
    parts = [part.partition("@")[0] for part in name.split("+")]
    weights = {"weights": dict.fromkeys(("ce", *parts), 1.0)} if len(parts) > 1 else None
    entry, problems = parse_row(name, weights)
    if entry is None:
        raise UserError(f"{name}: {problems[0].message}")
    return entry


def parse_pair(pair: str, dataset: str, root: Path) -> NetworkPair:
    """Return the networks of TEACHER:STUDENT. Raises UserError for unknown names."""
    source = find_data_set(dataset, root)
    teacher, colon, student = pair.partition(":")
    if not colon:
        raise UserError(f"--pair {pair}: expected TEACHER:STUDENT")
    for name in (teacher, student):
        models.network_factory(name)  # raises UserError for an unknown name
    return NetworkPair(student, teacher, source.classes, source.size)


# ---------------------------------------------------------------- one method


def method_card(entry: Row) -> Table:
    """Return a table that describes a method: paper, phases, parameters, presets."""
    kind, defaults = entry.spec.kind, asdict(entry.parameters)
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_row(Text(entry.label, style="bold"), Text(first_line(kind.__doc__), style="bold"))
    if kind.paper:
        table.add_row("  paper", Text(str(kind.paper)))
    table.add_row("  phases", Text(", then ".join(map(format_phase, phase_facts(entry)))))
    table.add_row("  parameters", Text(format_parameters(defaults) or "none"))
    for preset, values in kind.presets.items():
        changed = {k: v for k, v in asdict(values).items() if defaults.get(k) != v}
        table.add_row(f"  @{preset}", Text(format_parameters(changed) or "the same values"))
    table.add_row("", "")
    return table


def phase_facts(entry: Row) -> list[PhaseFacts]:
    """Run a batch through each phase on ``COMMON_PAIR``; return what each phase used."""
    teacher, student = COMMON_PAIR
    scene = NetworkPair(student, teacher, classes=100, size=32)
    return dry_run_method(entry, scene, BATCH_SIZE, Budget(EPOCHS, "extra"))


def format_phase(facts: PhaseFacts) -> str:
    """Describe a phase: name, epochs, and the teacher's features that it reads."""
    phase = facts.phase
    reads = f"the teacher's {' and '.join(facts.reads)}" if facts.reads else "no teacher"
    frozen = "" if phase.reads_student else ", the student is not trained"
    return f"{phase.name}: {phase.epochs} epochs, reads {reads}{frozen}"


def format_parameters(values: dict[str, Any]) -> str:
    """Format parameters as in a suite file."""
    return ", ".join(
        f"{name}: {{{format_parameters(value)}}}"
        if isinstance(value, dict)
        else f"{name}: {format_value(value)}"
        for name, value in values.items()
    )


def first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""


# ---------------------------------------------------------------- one pair


def applicability_table(entries: Sequence[Row], scene: NetworkPair) -> Table:
    """Return a table of whether each method can distil the pair, and if not, why."""
    table = Table(title=Text(f"{scene.teacher} -> {scene.student}, {scene.size} px"))
    table.title_justify = "left"
    table.add_column("method")
    table.add_column("applies")
    table.add_column("connector parameters", justify="right")
    for entry in entries:
        reason = mismatch_reason(entry, scene)
        if reason is None:
            facts = dry_run_method(entry, scene, BATCH_SIZE, Budget(EPOCHS, "extra"))
            table.add_row(entry.label, "yes", format_connectors(facts))
        else:
            table.add_row(entry.label, Text(f"no: {reason}"), "")
    return table


def format_connectors(facts: Sequence[PhaseFacts]) -> str:
    """Return the number of parameters that a method trains in addition to the student's."""
    return f"{facts[0].connectors:,}" if facts[0].connectors else ""
