"""Accuracy against what a training costs."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmark.report.plots.points import Measure
from benchmark.report.plots.scatter import draw_scatter
from benchmark.report.results.outcomes import Outcome, Results

MACHINE = "median over seeds, as measured on the machine of each run"


def draw(results: Results) -> Iterator[Figure]:
    """Yield top-1 against the time of a training step; none if no times are known.

    If a run has no time of a step, all methods have that of all epochs. Over pairs both are
    relative to scratch.
    """
    costs = [o.record.cost for cell in results.students.values() for o in cell if o.record]
    if all(cost.step_seconds for cost in costs):
        quantity, unit, value = "a training step with the teacher's pass", "ms", _step_milliseconds
    else:
        quantity, unit, value = "training time, a run's share", "min", _run_minutes
    label = f"{quantity} ({unit})\n{MACHINE}"
    label_over_pairs = f"{quantity}, times that of scratch\n{MACHINE}"
    yield from draw_scatter(results, [Measure(label, label_over_pairs, value, cost=True)])


def _step_milliseconds(outcome: Outcome) -> float | None:
    """Return the time of one step with the teacher's pass, as if the run was trained alone."""
    cost = outcome.record.cost if outcome.record else None
    if cost is None or not cost.step_seconds:
        return None
    return 1000 * (cost.step_seconds + (cost.teacher_seconds or 0))


def _run_minutes(outcome: Outcome) -> float | None:
    seconds = outcome.record.cost.seconds if outcome.record else 0.0
    return seconds / 60 or None
