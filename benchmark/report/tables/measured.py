"""Tables of what is measured besides accuracy: each has a group of columns a pair."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmark.report.tables.cells import Cell, Row, Table, printed
from benchmark.report.tables.layout import DASH, Entry, Grid, Layout, name, pair


class Number(NamedTuple):
    """One column of a pair: what heads it, in two lines, and what stands there of a cell."""

    head: tuple[str, str]
    of: Callable[[Cell], float | None]
    form: str = ".2f"


def quantity(name: str, above: str, head: str, form: str, scale: float = 1) -> Number:
    """A column of one quantity's means."""

    def of(cell: Cell) -> float | None:
        found = cell.measured.get(name)
        return found and found[0] * scale

    return Number((above, head), of, form)


def measured(table: Table) -> Iterator[Layout]:
    """Fidelity, calibration and cost, each once a student has it."""
    known = {name for row in table.students for cell in row.cells for name in cell.measured}
    if "agreement" in known:
        yield _by_pair(
            table, "fidelity", "fidelity to the teacher", FIDELITY, table.students, FAITH
        )
    if "ece" in known:
        yield _by_pair(table, "calibration", "calibration", CALIBRATION, table.rows, FIT)
    if any(cell.measured.get("seconds", (0, 0))[0] for row in table.students for cell in row.cells):
        numbers = [*COST, *(number for key, number in RARE.items() if key in known)]
        yield _by_pair(table, "cost", "accuracy against cost", numbers, table.students, EFFORT)


def _by_pair(
    table: Table,
    kind: str,
    title: str,
    numbers: Sequence[Number],
    rows: Sequence[Row],
    caption: str,
) -> Layout:
    """Methods by pairs: accuracy, then these numbers."""
    several = len({column.dataset for column in table.columns}) > 1
    above = any(number.head[0] for number in numbers)
    shown = [("", "top-1 (%)"), *(number.head for number in numbers)]
    heads: list[tuple[str, ...]] = [("method", "", "", "")[: 3 + above]]
    for column in table.columns:
        for place, head in enumerate(shown):
            first = ("", "") if place else pair(column, several)
            heads.append((*first, *head[not above :]))
    lines = [
        (name(row), *(entry for cell in row.cells for entry in _entries(cell, numbers)))
        for row in rows
    ]
    return Layout(
        table.suite,
        kind,
        f"{table.title}: {title}",
        Grid(tuple(heads), tuple((line,) for line in lines)),
        f"Means over the seeds that are done. {caption}",
        groups=(1 + len(numbers),) * len(table.columns),
        ruled=len(rows) - len(table.students),
        paired=True,
    )


def _entries(cell: Cell, numbers: Sequence[Number]) -> Iterator[Entry]:
    done = "" if cell.complete else f"{cell.n}/{cell.wanted}"
    if not cell.applicable:
        yield Entry(DASH)
    elif cell.mean is None:
        yield Entry(done)
    else:
        yield Entry(f"{printed(cell.mean)} ({done})" if done else printed(cell.mean))
    for number in numbers:
        value = number.of(cell)
        yield Entry("" if value is None else format(value, number.form))


def _flops(cell: Cell) -> float | None:
    found = cell.measured.get("deployed_flops") or cell.measured.get("flops")
    return found and found[0] / 1e6


FIDELITY = [
    quantity("agreement", "", "agreement (%)", ".1f"),
    quantity("error_agreement", "on teacher's", "errors (%)", ".1f"),
    quantity("kl", "", "KL (nats)", ".3f"),
    quantity("cka_embedding", "", "CKA", ".3f"),
]
FAITH = (
    "Agreement: of how many images student and teacher predict the same class; on teacher's "
    "errors: the same, among the images that the teacher has wrong. KL: of the student's "
    "distribution from the teacher's. CKA: linear, of the two embeddings. A row without a teacher "
    "shows what two networks have in common that never met; KL and CKA are not known there."
)
CALIBRATION = [
    quantity("ece", "", "ECE (%)", ".2f"),
    quantity("nll", "", "NLL", ".3f"),
    quantity("brier", "", "Brier", ".3f"),
    quantity("temperature", "", "T", ".2f"),
    quantity("scaled_ece", "scaled", "ECE (%)", ".2f"),
    quantity("scaled_nll", "scaled", "NLL", ".3f"),
    quantity("scaled_brier", "scaled", "Brier", ".3f"),
]
FIT = (
    "ECE: expected calibration error of the top-1 confidence, 15 bins of equal width. NLL: in "
    "nats. Brier: over all classes, 0 to 2. All are better when lower. T: the temperature that "
    "fits all images best; above 1, the network is too sure of itself. Scaled: each half of the "
    "images at the temperature that fits the other half."
)
COST = [
    quantity("seconds", "", "minutes", ".2f", 1 / 60),
    quantity("step_seconds", "own", "step (ms)", ".1f", 1000),
    quantity("teacher_seconds", "teacher's", "pass (ms)", ".1f", 1000),
    quantity("peak_memory_mb", "", "MiB", ".0f"),
    Number(("", "MFLOPs"), _flops, ",.1f"),
    quantity("connector_parameters", "connectors'", "parameters", ",.0f"),
    quantity("connector_flops", "connectors'", "MFLOPs", ",.1f", 1e-6),
]
RARE = {
    "peak_gpu_memory_mb": quantity("peak_gpu_memory_mb", "GPU", "MiB", ",.0f"),
    "gpu_hours": quantity("gpu_hours", "GPU", "hours", ".3g"),
    "energy_joules": quantity("energy_joules", "", "kJ", ".3g", 1e-3),
}
EFFORT = (
    "Minutes: of all epochs, the run's share where several were trained at once, as measured on "
    "the machine of each run. Own step: one training step without the teacher's pass for it, which "
    "all that are trained at once share. MiB: the highest memory of the process, with all it "
    "trained. MFLOPs: of one image's forward pass through what is deployed. Connectors: parameters "
    "that train and are not deployed; MFLOPs of the last phase's loss for one image."
)
