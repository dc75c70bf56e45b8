"""All that is measured of a run besides its accuracy, each number by the name that files have."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from statistics import fmean
from typing import Any

from benchmark.report.results.outcomes import Outcome
from benchmark.store.record import Calibration, Cost, Fidelity, Sharpness

NAMES = (
    *(field.name for field in fields(Calibration) if field.name != "scaled"),
    *(f"scaled_{field.name}" for field in fields(Sharpness)),
    *(field.name for kind in (Fidelity, Cost) for field in fields(kind)),
)
"""All but the places of CKA, which are a network's: `cka_stem`, `cka_stage_1` and so on."""

_LABELS = {
    "ece": "ECE (%)",
    "nll": "NLL (nats)",
    "brier": "Brier score",
    "scaled_ece": "scaled ECE (%)",
    "scaled_nll": "scaled NLL (nats)",
    "scaled_brier": "scaled Brier score",
    "agreement": "agreement with the teacher (%)",
    "kl": "KL from the teacher (nats)",
    "error_agreement": "agreement on its errors (%)",
    "seconds": "time of all epochs (s)",
    "peak_memory_mb": "memory (MiB)",
    "peak_gpu_memory_mb": "GPU memory (MiB)",
    "step_seconds": "own step (s)",
    "teacher_seconds": "teacher's pass (s)",
    "images_per_second": "images a second",
    "gpu_hours": "GPU hours",
    "energy_joules": "energy (J)",
    "flops": "FLOPs",
    "connector_flops": "connector FLOPs",
    "deployed_flops": "deployed FLOPs",
}


def label(name: str) -> str:
    """A quantity as readers know it, with its unit."""
    return _LABELS.get(name, name.replace("_", " ").replace("cka", "CKA"))


def quantities(outcome: Outcome) -> dict[str, float]:
    """Measures and costs that the run has, in the order that files list them; unrounded."""
    if outcome.record is None:
        return {}
    measures = outcome.record.measures
    found = _sharpness(measures.calibration) if measures else {}
    found |= vars(outcome.fidelity) if outcome.fidelity else {}
    found |= vars(outcome.record.cost)
    places = measures.cka if measures and measures.cka else {}
    found |= {f"cka_{place.replace(' ', '_')}": value for place, value in places.items()}
    return {name: value for name, value in found.items() if value is not None}


def means(outcomes: Iterable[Outcome]) -> dict[str, tuple[float, int]]:
    """Each quantity's mean over the runs that have it, and how many these are."""
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in quantities(outcome).items():
            values.setdefault(name, []).append(value)
    return {name: (fmean(several), len(several)) for name, several in values.items()}


def _sharpness(calibration: Calibration) -> dict[str, float | None]:
    scaled = {f"scaled_{name}": value for name, value in vars(calibration.scaled).items()}
    whole = vars(calibration) | {"scaled": None}
    return {**whole, **scaled}


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The leaves of nested fields by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        inside = isinstance(value, Mapping)
        found |= flat(value, f"{before}{key}.") if inside else {f"{before}{key}": value}
    return found
