"""The list of methods: what each is, does, reads and lets one choose; and where it applies."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
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
from benchmark.data import find
from benchmark.suite.dry_run import PhaseFacts, Scene, attempt, mismatch
from benchmark.suite.rows import Entry, read, shown
from methods.interface import Budget
from methods.registry.check import BadMethod

EVERYWHERE = "resnet56", "resnet20"
"""A pair to which every method applies: equal widths, equal stages."""
EPOCHS, BATCH_SIZE = 240, 64


def methods(options: argparse.Namespace) -> int:
    """List the methods: papers, phases, what they read, parameters and presets."""
    show(
        options.names,
        options.pair,
        options.dataset,
        options.data_root,
        options.plugins,
        make_console(),
    )
    return DONE


def show(
    names: Sequence[str],
    pair: str | None,
    dataset: str,
    root: Path,
    plugins: Sequence[Path],
    console: Console,
) -> None:
    """Print the methods, or what became of each for a pair. Raises ``UserError``."""
    try:
        for plugin in plugins:
            registry.add_file(plugin.resolve())
        entries = [entry_of(name) for name in names or every()]
        if pair is None:
            for entry in entries:
                console.print(card(entry), highlight=False)
            console.print(
                f"Epochs: of a budget of {EPOCHS}, initialising ones on top.", style="dim"
            )
        else:
            console.print(applicability(entries, scene_of(pair, dataset, root)))
    except BadMethod as error:
        raise UserError(str(error)) from error


def every() -> Iterator[str]:
    """Yield every method's name."""
    yield from registry.names()


def entry_of(name: str) -> Entry:
    """Read a name from the command line; a composition needs weights, here 1 each."""
    parts = [part.partition("@")[0] for part in name.split("+")]
    weights = {"weights": dict.fromkeys(("ce", *parts), 1.0)} if len(parts) > 1 else None
    entry, problems = read(name, weights)
    if entry is None:
        raise UserError(f"{name}: {problems[0].message}")
    return entry


def scene_of(pair: str, dataset: str, root: Path) -> Scene:
    """Read TEACHER:STUDENT."""
    source = find(dataset, root)
    teacher, colon, student = pair.partition(":")
    if not colon:
        raise UserError(f"--pair {pair}: expected TEACHER:STUDENT")
    for name in (teacher, student):
        models.maker(name)  # a UserError of its own where there is none
    return Scene(student, teacher, source.classes, source.size)


# ---------------------------------------------------------------- one method


def card(entry: Entry) -> Table:
    """Describe a method: a heading, and beside each word what is to be said of it."""
    kind, defaults = entry.spec.kind, asdict(entry.parameters)
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_row(Text(entry.label, style="bold"), Text(first_line(kind.__doc__), style="bold"))
    if kind.paper:
        table.add_row("  paper", Text(str(kind.paper)))
    table.add_row("  phases", Text(", then ".join(map(phase_told, facts_of(entry)))))
    table.add_row("  parameters", Text(parameters_told(defaults) or "none"))
    for preset, values in kind.presets.items():
        changed = {k: v for k, v in asdict(values).items() if defaults.get(k) != v}
        said = parameters_told(changed) or "the same values"
        table.add_row(f"  @{preset}", Text(said))
    table.add_row("", "")
    return table


def facts_of(entry: Entry) -> list[PhaseFacts]:
    """Run each phase once, on the pair that all methods have in common."""
    teacher, student = EVERYWHERE
    scene = Scene(student, teacher, classes=100, size=32)
    return attempt(entry, scene, BATCH_SIZE, Budget(EPOCHS, "extra"))


def phase_told(facts: PhaseFacts) -> str:
    """Say what a phase is called, how long it is and what it reads of the teacher."""
    phase = facts.phase
    reads = f"the teacher's {' and '.join(facts.reads)}" if facts.reads else "no teacher"
    alone = "" if phase.reads_student else ", the student rests"
    return f"{phase.name}: {phase.epochs} epochs, reads {reads}{alone}"


def parameters_told(values: dict[str, Any]) -> str:
    """List parameters as a suite would write them."""
    return ", ".join(
        f"{name}: {{{parameters_told(value)}}}"
        if isinstance(value, dict)
        else f"{name}: {shown(value)}"
        for name, value in values.items()
    )


def first_line(doc: str | None) -> str:
    """Return what a docstring begins with."""
    return (doc or "").strip().splitlines()[0] if doc else ""


# ---------------------------------------------------------------- one pair


def applicability(entries: Sequence[Entry], scene: Scene) -> Table:
    """Tell for each method whether it can distil a pair, and if not, why."""
    table = Table(title=Text(f"{scene.teacher} -> {scene.student}, {scene.size} px"))
    table.title_justify = "left"
    table.add_column("method")
    table.add_column("applies")
    table.add_column("connectors", justify="right")
    for entry in entries:
        reason = mismatch(entry, scene)
        if reason is None:
            facts = attempt(entry, scene, BATCH_SIZE, Budget(EPOCHS, "extra"))
            table.add_row(entry.label, "yes", connectors_told(facts))
        else:
            table.add_row(entry.label, Text(f"no: {reason}"), "")
    return table


def connectors_told(facts: Sequence[PhaseFacts]) -> str:
    """Say how many parameters a method trains beside the student's."""
    return f"{facts[0].connectors:,}" if facts[0].connectors else ""
