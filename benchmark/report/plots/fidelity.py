"""Accuracy against fidelity: is a student that is more like its teacher more accurate?"""

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmark.report.plots.points import Measure
from benchmark.report.plots.scatter import draw_scatter
from benchmark.report.results.outcomes import Outcome, Results

AGREEMENT = "top-1 agreement with the teacher (%)"
KL = "KL(teacher ‖ student) (nats)"


def draw(results: Results) -> Iterator[Figure]:
    """Yield top-1 against agreement and KL; none if neither was measured."""
    agreement = Measure(AGREEMENT, f"mean {AGREEMENT}", _agreement)
    yield from draw_scatter(results, [agreement, Measure(KL, f"mean {KL}", _kl)])


def _agreement(outcome: Outcome) -> float | None:
    return outcome.fidelity.agreement if outcome.fidelity else None


def _kl(outcome: Outcome) -> float | None:
    return outcome.fidelity.kl if outcome.fidelity else None
