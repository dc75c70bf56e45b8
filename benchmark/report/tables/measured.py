"""Tables of fidelity, calibration and cost. Each has a group of columns for every pair."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmark.report.tables.cells import Table, TableCell, TableRow, format_percent
from benchmark.report.tables.layout import (
    DASH,
    FormattedCell,
    TableLayout,
    TextGrid,
    format_row_name,
    pair_heading,
)


class QuantityColumn(NamedTuple):
    """One of the columns of each pair."""

    head: tuple[str, str]
    """Two lines; the first may be empty."""
    value: Callable[[TableCell], float | None]
    """Returns the number of a cell; None if it is not known."""
    number_format: str = ".2f"


def quantity_column(
    name: str, first_line: str, second_line: str, number_format: str, scale: float = 1
) -> QuantityColumn:
    """Return the column of a quantity's means, multiplied by `scale`.

    `name` is one of `results.quantities.QUANTITY_NAMES`, or a CKA.
    """

    def value(cell: TableCell) -> float | None:
        mean_and_count = cell.measured.get(name)
        return mean_and_count and mean_and_count[0] * scale

    return QuantityColumn((first_line, second_line), value, number_format)


def layout_measured(table: Table) -> Iterator[TableLayout]:
    """Yield fidelity, calibration and cost, each only if a student has its quantities."""
    known = {name for row in table.students for cell in row.cells for name in cell.measured}
    if "agreement" in known:
        yield _layout_by_pair(
            table,
            "fidelity",
            "fidelity to the teacher",
            FIDELITY_COLUMNS,
            table.students,
            FIDELITY_CAPTION,
        )
    if "ece" in known:
        yield _layout_by_pair(
            table,
            "calibration",
            "calibration",
            CALIBRATION_COLUMNS,
            table.rows,
            CALIBRATION_CAPTION,
        )
    if any(cell.measured.get("seconds", (0, 0))[0] for row in table.students for cell in row.cells):
        optional = [column for name, column in OPTIONAL_COST_COLUMNS.items() if name in known]
        yield _layout_by_pair(
            table,
            "cost",
            "accuracy against cost",
            [*COST_COLUMNS, *optional],
            table.students,
            COST_CAPTION,
        )


def _layout_by_pair(
    table: Table,
    name: str,
    title: str,
    quantities: Sequence[QuantityColumn],
    rows: Sequence[TableRow],
    caption: str,
) -> TableLayout:
    """Return methods by pairs: for each pair the accuracy, then the quantities."""
    with_dataset = len({column.dataset for column in table.columns}) > 1
    two_lines = any(quantity.head[0] for quantity in quantities)
    heads_of_pair = [("", "top-1 (%)"), *(quantity.head for quantity in quantities)]
    heads: list[tuple[str, ...]] = [("method", "", "", "")[: 3 + two_lines]]
    for column in table.columns:
        for index, head in enumerate(heads_of_pair):
            pair = ("", "") if index else pair_heading(column, with_dataset)
            heads.append((*pair, *head[not two_lines :]))
    lines = [
        (
            format_row_name(row),
            *(text for cell in row.cells for text in _format_cells(cell, quantities)),
        )
        for row in rows
    ]
    return TableLayout(
        table.suite,
        name,
        f"{table.title}: {title}",
        TextGrid(tuple(heads), tuple((line,) for line in lines)),
        f"Means over the seeds that are done. {caption}",
        groups=(1 + len(quantities),) * len(table.columns),
        teacher_blocks=len(rows) - len(table.students),
        groups_are_pairs=True,
    )


def _format_cells(cell: TableCell, quantities: Sequence[QuantityColumn]) -> Iterator[FormattedCell]:
    done = "" if cell.complete else f"{cell.n}/{cell.wanted}"
    if not cell.applicable:
        yield FormattedCell(DASH)
    elif cell.mean is None:
        yield FormattedCell(done)
    else:
        yield FormattedCell(
            f"{format_percent(cell.mean)} ({done})" if done else format_percent(cell.mean)
        )
    for quantity in quantities:
        value = quantity.value(cell)
        yield FormattedCell("" if value is None else format(value, quantity.number_format))


def _deployed_mflops(cell: TableCell) -> float | None:
    mean_and_count = cell.measured.get("deployed_flops") or cell.measured.get("flops")
    return mean_and_count and mean_and_count[0] / 1e6


FIDELITY_COLUMNS = [
    quantity_column("agreement", "", "agreement (%)", ".1f"),
    quantity_column("error_agreement", "on teacher's", "errors (%)", ".1f"),
    quantity_column("kl", "", "KL (nats)", ".3f"),
    quantity_column("cka_embedding", "", "CKA", ".3f"),
]
FIDELITY_CAPTION = (
    "Agreement: of how many images student and teacher predict the same class; on teacher's "
    "errors: the same, among the images that the teacher has wrong. KL: of the student's "
    "distribution from the teacher's. CKA: linear, of the two embeddings. A row without a teacher "
    "shows what two networks have in common that never met; KL and CKA are not known there."
)
CALIBRATION_COLUMNS = [
    quantity_column("ece", "", "ECE (%)", ".2f"),
    quantity_column("nll", "", "NLL", ".3f"),
    quantity_column("brier", "", "Brier", ".3f"),
    quantity_column("temperature", "", "T", ".2f"),
    quantity_column("scaled_ece", "scaled", "ECE (%)", ".2f"),
    quantity_column("scaled_nll", "scaled", "NLL", ".3f"),
    quantity_column("scaled_brier", "scaled", "Brier", ".3f"),
]
CALIBRATION_CAPTION = (
    "ECE: expected calibration error of the top-1 confidence, 15 bins of equal width. NLL: in "
    "nats. Brier: over all classes, 0 to 2. All are better when lower. T: the temperature that "
    "fits all images best; above 1, the network is too sure of itself. Scaled: each half of the "
    "images at the temperature that fits the other half."
)
COST_COLUMNS = [
    quantity_column("seconds", "", "minutes", ".2f", 1 / 60),
    quantity_column("step_seconds", "own", "step (ms)", ".1f", 1000),
    quantity_column("teacher_seconds", "teacher's", "pass (ms)", ".1f", 1000),
    quantity_column("peak_memory_mb", "", "MiB", ".0f"),
    QuantityColumn(("", "MFLOPs"), _deployed_mflops, ",.1f"),
    quantity_column("connector_parameters", "connectors'", "parameters", ",.0f"),
    quantity_column("connector_flops", "connectors'", "MFLOPs", ",.1f", 1e-6),
]
OPTIONAL_COST_COLUMNS = {  # by quantity; shown only if a student has it
    "peak_gpu_memory_mb": quantity_column("peak_gpu_memory_mb", "GPU", "MiB", ",.0f"),
    "gpu_hours": quantity_column("gpu_hours", "GPU", "hours", ".3g"),
    "energy_joules": quantity_column("energy_joules", "", "kJ", ".3g", 1e-3),
}
COST_CAPTION = (
    "Minutes: of all epochs, the run's share where several were trained at once, as measured on "
    "the machine of each run. Own step: one training step without the teacher's pass for it, which "
    "all that are trained at once share. MiB: the highest memory of the process, with all it "
    "trained. MFLOPs: of one image's forward pass through what is deployed. Connectors: parameters "
    "that train and are not deployed; MFLOPs of the last phase's loss for one image."
)
