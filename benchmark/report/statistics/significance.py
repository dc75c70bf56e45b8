"""What numbers of few seeds allow to say; scipy, statsmodels and scikit-posthocs do the sums.

Nothing is ever left out of a sum: there is no such thing as an outlier here.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL, POWER = 0.05, 0.80
RESAMPLES = 9_999
BATCH = 100  # of them at once, to spare memory
SMALLEST = 1e-9  # percentage points: a spread below this is rounding

Values = Sequence[float]


@dataclass(frozen=True)
class Interval:
    """Where a mean lies, at 95 %, in the unit of its values."""

    low: float
    high: float


@dataclass(frozen=True)
class Test:
    """A paired t-test of a mean difference: interval, p, and p by Holm's correction."""

    interval: Interval
    p: float
    holm: float = 1.0

    @property
    def significant(self) -> bool:
        """Whether the difference holds after the correction."""
        return self.holm < LEVEL


@dataclass(frozen=True)
class Standing:
    """A method among others: its mean rank over the blocks, 1 the best."""

    name: str
    rank: float


@dataclass(frozen=True)
class Ranking:
    """Friedman's test over `blocks` blocks, and how far apart Nemenyi wants two mean ranks."""

    blocks: int
    standings: tuple[Standing, ...]
    chi2: float | None
    p: float | None
    critical: float | None
    nemenyi: tuple[tuple[float, ...], ...]
    """p of every two methods, in the order of ``standings``."""


def intervals(samples: Sequence[Values]) -> list[Interval | None]:
    """Percentile bootstrap of each sample's mean; None of fewer than three values.

    Samples of one size share their draws, which are seeded: an interval depends on its own values.
    """
    found: list[Interval | None] = [None] * len(samples)
    for _, places in _by_size(samples, 3):
        from scipy.stats import bootstrap

        result = bootstrap(
            ([samples[place] for place in places],),
            _means,
            axis=-1,
            n_resamples=RESAMPLES,
            batch=BATCH,
            method="percentile",
            rng=0,
        )
        low, high = result.confidence_interval
        for place, ends in zip(places, zip(low.tolist(), high.tolist(), strict=True), strict=True):
            found[place] = Interval(*ends)
    return found


def compare(pairs: Sequence[tuple[Values, Values]]) -> list[Test | None]:
    """Paired t-tests of ours and theirs, all of one family; two seeds are the least.

    None also where every seed has the same difference: then t is no number.
    """
    found: list[Test | None] = [None] * len(pairs)
    usable = [ours if spread(ours, theirs) else () for ours, theirs in pairs]
    for _, places in _by_size(usable, 2):
        from scipy.stats import ttest_rel

        ours, theirs = ([pairs[place][side] for place in places] for side in (0, 1))
        result = ttest_rel(ours, theirs, axis=-1)
        ends = result.confidence_interval(1 - LEVEL)
        columns = (ends.low.tolist(), ends.high.tolist(), result.pvalue.tolist())
        rows = zip(places, *columns, strict=True)
        for place, low, high, p in rows:
            found[place] = Test(Interval(low, high), p)
    return _corrected(found)


def spread(ours: Values, theirs: Values) -> float | None:
    """The sample standard deviation of paired differences; None where there is none."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    found = math.sqrt(variance(differences)) if len(differences) > 1 else 0.0
    return found if found > SMALLEST else None


def pooled(pairs: Sequence[tuple[Values, Values]]) -> float | None:
    """One spread of paired differences, from those of all pairs by their degrees of freedom."""
    differences = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
    several = [values for values in differences if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return math.sqrt(sum((len(v) - 1) * variance(v) for v in several) / freedom)


def resolvable(pairs: Sequence[tuple[Values, Values]]) -> tuple[float, int] | None:
    """The smallest true difference that one paired t-test finds, and of how many seeds.

    At 5 %, two-sided, in 80 of 100 cases, by the pooled spread and the seeds of a complete cell.
    None of single seeds: nothing is known of their spread.
    """
    noise = pooled(pairs)
    if noise is None or noise < SMALLEST:
        return None
    from statsmodels.stats.power import TTestPower

    n = max(len(ours) for ours, _ in pairs)
    return noise * float(TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER)), n


def rank(values: Mapping[str, Values]) -> Ranking | None:
    """Rank methods by their values, one a block; None of fewer than two methods or blocks."""
    names, table = list(values), [list(column) for column in values.values()]
    blocks = len(table[0]) if table else 0
    if len(names) < 2 or blocks < 2:
        return None
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    ranks = rankdata([[-value for value in row] for row in table], axis=0).mean(axis=1).tolist()
    standings = tuple(Standing(name, place) for name, place in zip(names, ranks, strict=True))
    apart = any(len(set(block)) > 1 for block in zip(*table, strict=True))
    if len(names) < 3 or not apart:  # Friedman's statistic is made for three and more
        return Ranking(blocks, standings, None, None, None, ())
    chi2, p = friedmanchisquare(*table)
    q = float(studentized_range.ppf(1 - LEVEL, len(names), math.inf)) / math.sqrt(2)
    critical = q * math.sqrt(len(names) * (len(names) + 1) / (6 * blocks))
    return Ranking(blocks, standings, float(chi2), float(p), critical, _nemenyi(table))


def gap_closed(gain: float, teacher: float, scratch: float, noise: float) -> float | None:
    """Which part of the way from scratch to teacher a gain is, in percent.

    None where the teacher is not above scratch by more than the noise.
    """
    way = teacher - scratch
    return 100 * gain / way if way > max(noise, SMALLEST) else None


def average_relative_improvement(
    gains: Values, references: Values, noise: float | None
) -> float | None:
    """ARI in percent: the mean of (ours - theirs) / (theirs - scratch) over pairs.

    `gains` are ours - scratch, `references` theirs - scratch (Tian et al., ICLR 2020, section 4.1).
    None where one of the denominators is not above the noise, or that is unknown.
    """
    if noise is None or not references or min(references) <= max(noise, SMALLEST):
        return None
    both = zip(gains, references, strict=True)
    return 100 * fmean((ours - theirs) / theirs for ours, theirs in both)


def _means(values: "NDArray[np.float64]", axis: int) -> "NDArray[np.float64]":
    # In one order in memory, or the last bit of a sum depends on how many samples there are.
    found: NDArray[np.float64] = values.copy(order="C").mean(axis=axis)
    return found


def _by_size(samples: Sequence[Values], least: int) -> Iterator[tuple[int, list[int]]]:
    """The places of samples of each size: scipy takes all of one size at once."""
    sizes = sorted({len(sample) for sample in samples if len(sample) >= least})
    for n in sizes:
        yield n, [place for place, sample in enumerate(samples) if len(sample) == n]


def _corrected(tests: Sequence[Test | None]) -> list[Test | None]:
    done = [test for test in tests if test is not None]
    if not done:
        return list(tests)
    from statsmodels.stats.multitest import multipletests

    holm = iter(multipletests([test.p for test in done], method="holm")[1].tolist())
    return [test and replace(test, holm=next(holm)) for test in tests]


def _nemenyi(table: Sequence[Values]) -> tuple[tuple[float, ...], ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scikit_posthocs import posthoc_nemenyi_friedman

        found = posthoc_nemenyi_friedman([list(block) for block in zip(*table, strict=True)])
    return tuple(tuple(row) for row in found.to_numpy().tolist())
