"""Intervals, tests and ranks for top-1 accuracies in percent, of a few seeds each.

Values are paired by seed wherever two methods are compared. No value is ever dropped as an outlier.
scipy, statsmodels and scikit-posthocs do the computations; they are imported where they are used,
because that takes seconds.
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

ALPHA = 0.05
"""The significance level of all tests; intervals cover 1 - ALPHA."""
POWER = 0.80
"""The power at which the smallest detectable difference is computed."""
RESAMPLES = 9_999
"""Bootstrap resamples of each interval."""
RESAMPLES_AT_ONCE = 100
"""Resamples that are held in memory at the same time."""
MIN_SPREAD = 1e-9
"""In percentage points: a smaller spread is a rounding error and counts as zero."""

Values = Sequence[float]
"""Accuracies in percent, one a seed or one a block."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of a mean, in the unit of the values."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """The result of a two-sided paired t-test of a mean difference."""

    interval: Interval
    """Of the mean difference, in percentage points, not corrected for multiple comparisons."""
    p: float
    """Not corrected for multiple comparisons."""
    holm: float = 1.0
    """p after Holm's correction over the family of comparisons."""

    @property
    def significant(self) -> bool:
        """Whether the difference is significant after Holm's correction."""
        return self.holm < ALPHA


@dataclass(frozen=True)
class MethodRank:
    """A method's mean rank over the blocks; rank 1 is the best."""

    name: str
    rank: float


@dataclass(frozen=True)
class Ranking:
    """Mean ranks, Friedman's test and Nemenyi's post-hoc test over `blocks` blocks."""

    blocks: int
    standings: tuple[MethodRank, ...]
    chi2: float | None
    """Friedman's statistic, corrected for ties; None if there is no test."""
    p: float | None
    critical: float | None
    """Nemenyi's critical difference: mean ranks at least this far apart differ at ALPHA."""
    nemenyi: tuple[tuple[float, ...], ...]
    """Nemenyi's p for every two methods, in the order of ``standings``; empty without a test."""


def bootstrap_intervals(samples: Sequence[Values]) -> list[Interval | None]:
    """Return the percentile bootstrap interval of each sample's mean (Efron & Tibshirani 1993).

    The interval assumes that a sample's values are independent draws of one distribution. With few
    values it is too narrow; a sample of fewer than three values has None. The random draws are
    seeded and the same for all samples of one size, so an interval depends only on its own values.
    """
    found: list[Interval | None] = [None] * len(samples)
    for indices in _indices_by_size(samples, 3):
        from scipy.stats import bootstrap

        result = bootstrap(
            ([samples[index] for index in indices],),
            _means,
            axis=-1,
            n_resamples=RESAMPLES,
            batch=RESAMPLES_AT_ONCE,
            method="percentile",
            rng=0,
        )
        low, high = result.confidence_interval
        for index, *bounds in zip(indices, low.tolist(), high.tolist(), strict=True):
            found[index] = Interval(*bounds)
    return found


def paired_t_tests(pairs: Sequence[tuple[Values, Values]]) -> list[PairedTest | None]:
    """Return a two-sided paired t-test (Student 1908) of each pair of samples.

    A pair holds the accuracies of two methods, seed by seed. The test assumes that the differences
    are independent and normally distributed. The p values of all pairs form one family and are
    adjusted by Holm's step-down correction (Holm 1979). A pair has None, and does not count in the
    family, if it has fewer than two seeds or if all of its differences are equal: t is then
    undefined.
    """
    found: list[PairedTest | None] = [None] * len(pairs)
    usable = [ours if std_of_differences(ours, theirs) else () for ours, theirs in pairs]
    for indices in _indices_by_size(usable, 2):
        from scipy.stats import ttest_rel

        ours, theirs = ([pairs[index][side] for index in indices] for side in (0, 1))
        result = ttest_rel(ours, theirs, axis=-1)
        bounds = result.confidence_interval(1 - ALPHA)
        columns = (bounds.low.tolist(), bounds.high.tolist(), result.pvalue.tolist())
        for index, low, high, p in zip(indices, *columns, strict=True):
            found[index] = PairedTest(Interval(low, high), p)
    return _with_holm_correction(found)


def std_of_differences(ours: Values, theirs: Values) -> float | None:
    """Return the sample standard deviation of paired differences in percentage points.

    The result is None if there are fewer than two differences or if all are equal.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    std = math.sqrt(variance(differences)) if len(differences) > 1 else 0.0
    return std if std > MIN_SPREAD else None


def pooled_std_of_differences(pairs: Sequence[tuple[Values, Values]]) -> float | None:
    """Return the pooled standard deviation of paired differences in percentage points.

    The variances of all pairs are averaged, weighted by their degrees of freedom. The result is
    None if no pair has two seeds.
    """
    differences = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
    samples = [values for values in differences if len(values) > 1]
    degrees_of_freedom = sum(len(values) - 1 for values in samples)
    if not degrees_of_freedom:
        return None
    return math.sqrt(sum((len(v) - 1) * variance(v) for v in samples) / degrees_of_freedom)


def smallest_detectable_difference(
    pairs: Sequence[tuple[Values, Values]],
) -> tuple[float, int] | None:
    """Return the smallest difference that a paired t-test detects, and its number of seeds.

    The difference is in percentage points. It is the true mean difference at which one two-sided
    test at ALPHA, not corrected for multiple comparisons, is significant with probability POWER.
    The standard deviation is the pooled one of all pairs, the number of seeds that of the largest
    pair. The result is None if the standard deviation is unknown, as with single seeds, or zero.
    """
    std = pooled_std_of_differences(pairs)
    if std is None or std < MIN_SPREAD:
        return None
    from statsmodels.stats.power import TTestPower

    n = max(len(ours) for ours, _ in pairs)
    return std * float(TTestPower().solve_power(nobs=n, alpha=ALPHA, power=POWER)), n


def rank_methods(values: Mapping[str, Values]) -> Ranking | None:
    """Rank methods over blocks and test whether they differ (Demšar 2006, section 3.2).

    `values[method][block]` is the method's mean accuracy on a block, a teacher-student pair. In
    each block the highest accuracy has rank 1 and tied methods share their mean rank. Friedman's
    test (Friedman 1937), corrected for ties, asks whether all methods are equally good; it assumes
    independent blocks. Nemenyi's test (Nemenyi 1963) compares every two methods and is corrected
    for the number of methods.

    The result is None with fewer than two methods or blocks. With two methods, or if all methods
    are tied in every block, there are ranks but no tests.
    """
    names, table = list(values), [list(column) for column in values.values()]
    blocks = len(table[0]) if table else 0
    if len(names) < 2 or blocks < 2:
        return None
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    ranks = rankdata([[-value for value in row] for row in table], axis=0).mean(axis=1).tolist()
    standings = tuple(MethodRank(name, rank) for name, rank in zip(names, ranks, strict=True))
    all_tied = all(len(set(block)) == 1 for block in zip(*table, strict=True))
    if len(names) < 3 or all_tied:  # Friedman's test needs three methods
        return Ranking(blocks, standings, None, None, None, ())
    chi2, p = friedmanchisquare(*table)
    q = float(studentized_range.ppf(1 - ALPHA, len(names), math.inf)) / math.sqrt(2)
    critical = q * math.sqrt(len(names) * (len(names) + 1) / (6 * blocks))
    return Ranking(blocks, standings, float(chi2), float(p), critical, _nemenyi_p_values(table))


def gap_closed(gain: float, teacher: float, scratch: float, noise: float) -> float | None:
    """Return `gain` as a percentage of the gap between scratch and teacher.

    All arguments are in percentage points. `noise` is the pooled standard deviation of paired
    differences; the result is None if the gap is not larger.
    """
    gap = teacher - scratch
    return 100 * gain / gap if gap > max(noise, MIN_SPREAD) else None


def average_relative_improvement(
    gains: Values, references: Values, noise: float | None
) -> float | None:
    """Return the average relative improvement (ARI) over a reference method in percent.

    ARI is the mean of (method - reference) / (reference - scratch) over pairs (Tian et al., ICLR
    2020, section 4.1). `gains` are method - scratch, `references` are reference - scratch, both in
    percentage points and pair by pair. The result is None if a denominator is not larger than
    `noise`, or if `noise` is unknown.
    """
    if noise is None or not references or min(references) <= max(noise, MIN_SPREAD):
        return None
    pairs = zip(gains, references, strict=True)
    return 100 * fmean((gain - reference) / reference for gain, reference in pairs)


def _means(values: "NDArray[np.float64]", axis: int) -> "NDArray[np.float64]":
    # numpy adds in memory order. Without a fixed order, the last bit of a mean would depend on the
    # number of samples.
    means: NDArray[np.float64] = values.copy(order="C").mean(axis=axis)
    return means


def _indices_by_size(samples: Sequence[Values], least: int) -> Iterator[list[int]]:
    """Yield the indices of all samples of one size, because scipy takes these in one call."""
    for size in sorted({len(sample) for sample in samples if len(sample) >= least}):
        yield [index for index, sample in enumerate(samples) if len(sample) == size]


def _with_holm_correction(tests: Sequence[PairedTest | None]) -> list[PairedTest | None]:
    family = [test for test in tests if test is not None]
    if not family:
        return list(tests)
    from statsmodels.stats.multitest import multipletests

    holm = iter(multipletests([test.p for test in family], method="holm")[1].tolist())
    return [test and replace(test, holm=next(holm)) for test in tests]


def _nemenyi_p_values(table: Sequence[Values]) -> tuple[tuple[float, ...], ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scikit_posthocs import posthoc_nemenyi_friedman

        p_values = posthoc_nemenyi_friedman([list(block) for block in zip(*table, strict=True)])
    return tuple(tuple(row) for row in p_values.to_numpy().tolist())
