"""Every quantity measured of a run besides accuracy, under the names that the CSV files use."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from statistics import fmean
from typing import Any

from benchmark.report.results.outcomes import Outcome
from benchmark.store.measures import Calibration, CalibrationScores, Fidelity

_COSTS = (
    *("parameters", "deployed_parameters", "connector_parameters", "seconds", "wall_seconds"),
    *(
        "peak_memory_mb",
        "peak_gpu_memory_mb",
        "step_seconds",
        "teacher_seconds",
        "images_per_second",
        "gpu_hours",
    ),
    *("energy_joules", "flops", "connector_flops", "deployed_flops"),
)
"""Fields of a record's cost that tables and CSV files list, in their order."""
QUANTITY_NAMES = (
    *(field.name for field in fields(Calibration) if field.name != "scaled"),
    *(f"scaled_{field.name}" for field in fields(CalibrationScores)),
    *(field.name for field in fields(Fidelity)),
    *_COSTS,
)
"""All quantities but CKA, whose names depend on the network: `cka_stem`, `cka_stage_1`, ..."""

_LABELS = {
    "ece": "ECE (%)",
    "nll": "NLL (nats)",
    "brier": "Brier score",
    "scaled_ece": "scaled ECE (%)",
    "scaled_nll": "scaled NLL (nats)",
    "scaled_brier": "scaled Brier score",
    "agreement": "agreement with the teacher (%)",
    "kl": "KL from the teacher (nats)",
    "error_agreement": "agreement on the teacher's errors (%)",
    "seconds": "time of all epochs (s)",
    "wall_seconds": "wall-clock time of all epochs (s)",
    "peak_memory_mb": "memory (MiB)",
    "peak_gpu_memory_mb": "GPU memory (MiB)",
    "step_seconds": "training step without the teacher (s)",
    "teacher_seconds": "teacher's forward pass (s)",
    "images_per_second": "images per second",
    "gpu_hours": "GPU hours",
    "energy_joules": "energy (J)",
    "flops": "FLOPs",
    "connector_flops": "connector FLOPs",
    "deployed_flops": "deployed FLOPs",
}


def quantity_label(name: str) -> str:
    """Return a quantity's name as text for readers, with its unit."""
    return _LABELS.get(name, name.replace("_", " ").replace("cka", "CKA"))


def measured_quantities(outcome: Outcome) -> dict[str, float]:
    """Return the measures and costs in a run's record, unrounded, in the order of the files."""
    if outcome.record is None:
        return {}
    measures = outcome.record.measures
    values = _calibration_quantities(measures.calibration) if measures else {}
    values |= vars(outcome.fidelity) if outcome.fidelity else {}
    values |= {name: getattr(outcome.record.cost, name) for name in _COSTS}
    cka = measures.cka if measures and measures.cka else {}
    values |= {f"cka_{layer.replace(' ', '_')}": value for layer, value in cka.items()}
    return {name: value for name, value in values.items() if value is not None}


def mean_quantities(outcomes: Iterable[Outcome]) -> dict[str, tuple[float, int]]:
    """Return the mean of each quantity over the runs that have it, and the number of these runs."""
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in measured_quantities(outcome).items():
            values.setdefault(name, []).append(value)
    return {name: (fmean(numbers), len(numbers)) for name, numbers in values.items()}


def _calibration_quantities(calibration: Calibration) -> dict[str, float | None]:
    unscaled = vars(calibration) | {"scaled": None}
    scaled = {f"scaled_{name}": value for name, value in vars(calibration.scaled).items()}
    return {**unscaled, **scaled}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted names, as in `recipe.lr`."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
