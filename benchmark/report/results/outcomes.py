"""The types of the outcomes of a suite's runs, as the report uses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmark.store.manifest import Manifest
from benchmark.store.measures import Fidelity
from benchmark.store.record import Record

State = Literal["done", "failed", "missing", "not applicable"]

LR_DROP_FACTOR = 1.5
"""An epoch ends with a learning-rate drop if its rate is more than this many times the next."""
MAX_LR_DROPS = 5
"""A history with more drops has a continuous schedule, whose drops are not marked."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    seed: int | None
    """None for a teacher."""
    run: str | None
    state: State
    record: Record | None = None
    """Not None if and only if the state is "done"."""
    failure: str | None = None
    """The message of a failed run."""
    reason: str | None = None
    """Why the method is not applicable."""
    fidelity: Fidelity | None = None
    """Similarity to the run's teacher. A run without one is compared with its column's teacher."""


@dataclass(frozen=True)
class Results:
    """A manifest and the outcome of every run in it."""

    manifest: Manifest
    teachers: tuple[Outcome, ...]
    """One for each column."""
    students: Mapping[tuple[int, str], tuple[Outcome, ...]]
    """By column index and method, in the order of `Manifest.seeds`."""

    def any_done(self) -> bool:
        """Return whether at least one student run is done."""
        return any(o.state == "done" for outcomes in self.students.values() for o in outcomes)
