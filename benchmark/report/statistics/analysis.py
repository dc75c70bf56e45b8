"""The statistics of a suite's results: of each cell, and of each method over all pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics import significance
from benchmark.report.statistics.significance import Interval, PairedTest, Ranking, Values

REFERENCES = ("scratch", "kd")
"""The methods that all others are compared with, if the suite has them."""

CellKey = tuple[int, str]
"""Column index in the manifest, and method."""
ComparisonKey = tuple[int, str, str]
"""Column index in the manifest, method, and the reference that it is compared with."""
PairedValues = tuple[Values, Values]
"""The accuracies of a method and of a reference, with the same seeds in the same order."""


@dataclass(frozen=True)
class MethodSummary:
    """One method over all pairs. Means are over the columns in which each quantity is defined."""

    name: str
    columns: int
    """The number of columns in which all seeds of the method and of scratch are done."""
    gain: float | None
    """The mean difference to scratch in percentage points."""
    not_above: int
    """The number of columns in which the method is not above scratch, to two decimals."""
    gap: float | None
    """The mean share of the gap between scratch and teacher that is closed, in percent."""
    gaps: int
    """The number of columns in which that share is defined."""
    ari: float | None
    """The average relative improvement over kd in percent."""


@dataclass(frozen=True)
class SuiteSummary:
    """All methods of a suite over several pairs."""

    lines: tuple[MethodSummary, ...]
    ranking: Ranking | None
    unranked: tuple[str, ...]
    """Methods that are not ranked because they do not apply to every pair."""


@dataclass(frozen=True)
class Analysis:
    """The statistics of all cells of a suite, including those that its tables leave out."""

    references: tuple[str, ...]
    values: Mapping[CellKey, Mapping[int, float]]
    """Top-1 in percent of each cell, by seed."""
    intervals: Mapping[CellKey, Interval | None]
    pairs: Mapping[ComparisonKey, PairedValues]
    tests: Mapping[ComparisonKey, PairedTest | None]
    noise: Mapping[str, float | None]
    """By data set: the pooled standard deviation of paired differences in percentage points."""
    resolvable: Mapping[str, tuple[float, int] | None]
    """By data set: `significance.smallest_detectable_difference`."""
    gaps: Mapping[CellKey, float | None]
    """The share of the gap between scratch and teacher that is closed, in percent."""
    family: int
    """The number of comparisons that Holm's correction is over."""


def top1_by_seed(outcomes: Iterable[Outcome]) -> dict[int | None, float]:
    """Return top-1 in percent after the last epoch, by seed, of the runs that are done."""
    return {o.seed: o.record.result.top1 for o in outcomes if o.record is not None}


def values_of_shared_seeds(
    ours: Mapping[int, float] | Mapping[int | None, float],
    theirs: Mapping[int, float] | Mapping[int | None, float],
) -> PairedValues:
    """Return the values of the seeds that both mappings have, in the same order."""
    seeds = [seed for seed in ours if seed in theirs]
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]  # type: ignore[index]


def analyse(results: Results) -> Analysis:
    """Return the statistics of all cells.

    Holm's correction is over all comparisons of the suite with its references, so that the choice
    of rows and columns for a table does not change any p value.
    """
    grid = results.manifest
    references = tuple(name for name in REFERENCES if name in grid.methods)
    values = {
        key: {seed: top1 for seed, top1 in top1_by_seed(outcomes).items() if seed is not None}
        for key, outcomes in results.students.items()
    }
    pairs = {
        (column, method, reference): values_of_shared_seeds(ours, values[column, reference])
        for (column, method), ours in values.items()
        for reference in references
        if method != reference
    }
    intervals = significance.bootstrap_intervals([list(ours.values()) for ours in values.values()])
    # Scratch against kd is the same comparison as kd against scratch and counts once in the family.
    family = {key: pair for key, pair in pairs.items() if key[1:] != ("scratch", "kd")}
    tests = dict(zip(family, significance.paired_t_tests(list(family.values())), strict=True))
    by_dataset = {
        name: [pair for key, pair in family.items() if grid.columns[key[0]].dataset == name]
        for name in dict.fromkeys(column.dataset for column in grid.columns)
    }
    noise = {
        name: significance.pooled_std_of_differences(dataset_pairs)
        for name, dataset_pairs in by_dataset.items()
    }
    return Analysis(
        references=references,
        values=values,
        intervals=dict(zip(values, intervals, strict=True)),
        pairs=pairs,
        tests={key: tests.get(key) or _reversed_test(tests, key) for key in pairs},
        noise=noise,
        resolvable={
            name: significance.smallest_detectable_difference(dataset_pairs)
            for name, dataset_pairs in by_dataset.items()
        },
        gaps=_gaps_closed(results, values, pairs, noise),
        family=sum(test is not None for test in tests.values()),
    )


def summarise_over_pairs(results: Results, analysis: Analysis) -> SuiteSummary | None:
    """Summarise each method over all columns; None if the suite has a single column.

    Methods are ranked if they apply to every column, over the columns in which all of them are
    complete.
    """
    grid = results.manifest
    if len(grid.columns) < 2:
        return None
    ranked = [name for name in grid.methods if _applies_everywhere(results, name)]
    blocks = [
        column
        for column in range(len(grid.columns))
        if all(_all_seeds_done(results, column, name) for name in ranked)
    ]
    means = {
        name: [fmean(analysis.values[column, name].values()) for column in blocks]
        for name in ranked
    }
    return SuiteSummary(
        lines=tuple(_summarise_method(results, analysis, name) for name in grid.methods),
        ranking=significance.rank_methods(means),
        unranked=tuple(name for name in grid.methods if name not in ranked),
    )


def _reversed_test(
    tests: Mapping[ComparisonKey, PairedTest | None], key: ComparisonKey
) -> PairedTest | None:
    """Return the test of the same two methods with the sign of the difference reversed."""
    column, method, reference = key
    test = tests.get((column, reference, method))
    if test is None:
        return None
    return PairedTest(Interval(-test.interval.high, -test.interval.low), test.p, test.holm)


def _gaps_closed(
    results: Results,
    values: Mapping[CellKey, Mapping[int, float]],
    pairs: Mapping[ComparisonKey, PairedValues],
    noise: Mapping[str, float | None],
) -> dict[CellKey, float | None]:
    """Return for each cell the share of the gap between scratch and teacher that it closes."""
    gaps: dict[CellKey, float | None] = {}
    for column, method in values:
        ours, scratch = pairs.get((column, method, "scratch"), ((), ()))
        teacher = results.teachers[column].record
        gaps[column, method] = None
        if teacher is not None and ours:
            gaps[column, method] = significance.gap_closed(
                gain=fmean(ours) - fmean(scratch),
                teacher=teacher.result.top1,
                scratch=fmean(values[column, "scratch"].values()),
                noise=noise[results.manifest.columns[column].dataset] or 0.0,
            )
    return gaps


def _applies_everywhere(results: Results, name: str) -> bool:
    columns = range(len(results.manifest.columns))
    return all(o.state != "not applicable" for c in columns for o in results.students[c, name])


def _all_seeds_done(results: Results, column: int, name: str) -> bool:
    return all(outcome.state == "done" for outcome in results.students[column, name])


def _summarise_method(results: Results, analysis: Analysis, name: str) -> MethodSummary:
    needed = [name, *analysis.references[:1]]
    columns = [
        column
        for column in range(len(results.manifest.columns))
        if all(_all_seeds_done(results, column, other) for other in needed)
    ]
    gains = list(_mean_gains(analysis, columns, name, "scratch"))
    gaps = [gap for c in columns if (gap := analysis.gaps[c, name]) is not None]
    return MethodSummary(
        name=name,
        columns=len(columns),
        gain=fmean(gains) if gains else None,
        not_above=sum(round(gain, 2) <= 0 for gain in gains),
        gap=fmean(gaps) if gaps else None,
        gaps=len(gaps),
        ari=_ari(results, analysis, columns, name),
    )


def _mean_gains(
    analysis: Analysis, columns: Sequence[int], name: str, reference: str
) -> Iterator[float]:
    for column in columns:
        ours, theirs = analysis.pairs.get((column, name, reference), ((), ()))
        if ours:
            yield fmean(ours) - fmean(theirs)


def _ari(results: Results, analysis: Analysis, columns: Sequence[int], name: str) -> float | None:
    """Return ARI over kd, on the columns in which the method, kd and scratch are complete.

    The result is None if kd is not above scratch by more than the noise in each of these columns.
    """
    if name in REFERENCES or set(REFERENCES) - set(analysis.references):
        return None
    complete = [
        c for c in columns if all(_all_seeds_done(results, c, other) for other in REFERENCES)
    ]
    noise = [analysis.noise[results.manifest.columns[c].dataset] for c in complete]
    gains = list(_mean_gains(analysis, complete, name, "scratch"))
    kd_gains = list(_mean_gains(analysis, complete, "kd", "scratch"))
    if any(n is None or gain <= n for n, gain in zip(noise, kd_gains, strict=True)):
        return None
    return significance.average_relative_improvement(gains, kd_gains, 0.0)
