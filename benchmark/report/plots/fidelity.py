"""Accuracy against fidelity: does a student that is more like its teacher know more?"""

from matplotlib.figure import Figure

from benchmark.report.plots.points import Measure
from benchmark.report.plots.scatter import draw_scatter
from benchmark.report.results.outcomes import Outcome, Results

AGREEMENT = "top-1 agreement with the teacher (%)"
KL = "KL(teacher ‖ student) (nats)"


def draw(results: Results) -> Figure | None:
    """Top-1 against agreement and KL; None where neither was measured."""
    return draw_scatter(
        results,
        [
            Measure(AGREEMENT, f"mean {AGREEMENT}", _agreement),
            Measure(KL, f"mean {KL}", _kl),
        ],
    )


def _agreement(outcome: Outcome) -> float | None:
    return outcome.fidelity.agreement if outcome.fidelity else None


def _kl(outcome: Outcome) -> float | None:
    return outcome.fidelity.kl if outcome.fidelity else None
