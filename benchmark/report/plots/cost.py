"""Accuracy against what a training costs."""

from matplotlib.figure import Figure

from benchmark.report.plots.points import Measure
from benchmark.report.plots.scatter import draw_scatter
from benchmark.report.results.outcomes import Outcome, Results

MACHINE = "median over seeds, as measured on the machine of each run"


def draw(results: Results) -> Figure | None:
    """Top-1 against the time of a step, or where a run has none against that of all its epochs.

    None where no times are known. Over pairs both are relative to scratch.
    """
    costs = [o.record.cost for cell in results.students.values() for o in cell if o.record]
    if all(cost.step_seconds for cost in costs):
        words, unit, of = "a training step with the teacher's pass", "ms", _step
    else:
        words, unit, of = "training time, a run's share", "min", _whole
    return draw_scatter(
        results,
        [
            Measure(
                f"{words} ({unit})\n{MACHINE}",
                f"{words}, times that of scratch\n{MACHINE}",
                of,
                cost=True,
            )
        ],
    )


def _step(outcome: Outcome) -> float | None:
    """Milliseconds of one step, as if the run were trained alone."""
    cost = outcome.record.cost if outcome.record else None
    if cost is None or not cost.step_seconds:
        return None
    return 1000 * (cost.step_seconds + (cost.teacher_seconds or 0))


def _whole(outcome: Outcome) -> float | None:
    """Minutes of all epochs."""
    seconds = outcome.record.cost.seconds if outcome.record else 0.0
    return seconds / 60 or None
