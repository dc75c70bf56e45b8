"""A suite's numbers through the statistics: cell by cell, and over all pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.statistics import significance
from benchmark.report.statistics.significance import Interval, Ranking, Test, Values

REFERENCES = ("scratch", "kd")  # what differences are taken to, where the suite has them

At = tuple[int, str]  # column of the manifest, method
Pair = tuple[Values, Values]  # ours and theirs, seed by seed


@dataclass(frozen=True)
class Overall:
    """One method over all pairs: means over the columns where each is defined, in percent."""

    name: str
    columns: int
    """In how many all seeds are done, those of scratch too."""
    gain: float | None
    """Mean difference to scratch."""
    not_above: int
    """In how many columns it is not above scratch."""
    gap: float | None
    gaps: int
    """In how many columns the gap is defined."""
    ari: float | None
    """Over kd."""


@dataclass(frozen=True)
class Summary:
    """What is said over several pairs."""

    lines: tuple[Overall, ...]
    ranking: Ranking | None
    unranked: tuple[str, ...]
    """Methods that do not apply everywhere."""


@dataclass(frozen=True)
class Analysis:
    """The statistics of all cells of a suite, whatever its tables show."""

    references: tuple[str, ...]
    values: Mapping[At, Mapping[int, float]]  # by seed
    intervals: Mapping[At, Interval | None]
    pairs: Mapping[tuple[int, str, str], Pair]
    tests: Mapping[tuple[int, str, str], Test | None]
    noise: Mapping[str, float | None]  # by a column's data set: pooled spread of differences
    resolvable: Mapping[str, tuple[float, int] | None]
    gaps: Mapping[At, float | None]
    family: int
    """How many comparisons Holm's correction counts."""


def by_seed(outcomes: Iterable[Outcome]) -> dict[int | None, float]:
    """Last-epoch top-1 in percent of the runs that are done."""
    return {o.seed: o.record.result.top1 for o in outcomes if o.record is not None}


def matched(
    ours: Mapping[int, float] | Mapping[int | None, float],
    theirs: Mapping[int, float] | Mapping[int | None, float],
) -> Pair:
    """The values of the seeds that both have."""
    seeds = [seed for seed in ours if seed in theirs]
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]  # type: ignore[index]


def analyse(results: Results) -> Analysis:
    """All statistics of a suite's cells; what tables leave out still counts in the correction."""
    grid = results.manifest
    references = tuple(name for name in REFERENCES if name in grid.methods)
    values = {
        at: {seed: top1 for seed, top1 in by_seed(outcomes).items() if seed is not None}
        for at, outcomes in results.students.items()
    }
    pairs = {
        (column, method, other): matched(mine, values[column, other])
        for (column, method), mine in values.items()
        for other in references
        if method != other
    }
    found = significance.intervals([list(mine.values()) for mine in values.values()])
    # Scratch against kd is kd against scratch: one comparison, counted once.
    once = {key: pair for key, pair in pairs.items() if key[1:] != ("scratch", "kd")}
    tests = dict(zip(once, significance.compare(list(once.values())), strict=True))
    by_dataset = {
        name: [pair for key, pair in once.items() if grid.columns[key[0]].dataset == name]
        for name in dict.fromkeys(column.dataset for column in grid.columns)
    }
    noise = {name: significance.pooled(several) for name, several in by_dataset.items()}
    return Analysis(
        references,
        values,
        dict(zip(values, found, strict=True)),
        pairs,
        {key: tests.get(key) or _turned(tests, key) for key in pairs},
        noise,
        {name: significance.resolvable(several) for name, several in by_dataset.items()},
        {
            (column, method): _gap(
                results,
                values,
                pairs.get((column, method, "scratch")),
                noise[grid.columns[column].dataset],
                column,
            )
            for column, method in values
        },
        sum(test is not None for test in tests.values()),
    )


def summarise(results: Results, analysis: Analysis) -> Summary | None:
    """What can be said over the columns of a suite; None of a single one."""
    grid = results.manifest
    if len(grid.columns) < 2:
        return None
    apply = [name for name in grid.methods if _applies(results, name)]
    blocks = [
        column
        for column in range(len(grid.columns))
        if all(_complete(results, column, name) for name in apply)
    ]
    means = {
        name: [fmean(analysis.values[column, name].values()) for column in blocks] for name in apply
    }
    return Summary(
        tuple(_overall(results, analysis, name) for name in grid.methods),
        significance.rank(means),
        tuple(name for name in grid.methods if name not in apply),
    )


def _turned(
    tests: Mapping[tuple[int, str, str], Test | None], key: tuple[int, str, str]
) -> Test | None:
    """The same comparison read from its other side."""
    column, ours, theirs = key
    test = tests.get((column, theirs, ours))
    if test is None:
        return None
    return Test(Interval(-test.interval.high, -test.interval.low), test.p, test.holm)


def _gap(
    results: Results,
    values: Mapping[At, Mapping[int, float]],
    pair: Pair | None,
    noise: float | None,
    column: int,
) -> float | None:
    """The gap closed in one cell; `pair` has its values and scratch's."""
    teacher = results.teachers[column].record
    if teacher is None or pair is None or not pair[0]:
        return None
    gain = fmean(pair[0]) - fmean(pair[1])
    start = fmean(values[column, "scratch"].values())
    return significance.gap_closed(gain, teacher.result.top1, start, noise or 0.0)


def _applies(results: Results, name: str) -> bool:
    columns = range(len(results.manifest.columns))
    return all(o.state != "not applicable" for c in columns for o in results.students[c, name])


def _complete(results: Results, column: int, name: str) -> bool:
    return all(outcome.state == "done" for outcome in results.students[column, name])


def _overall(results: Results, analysis: Analysis, name: str) -> Overall:
    needed = [name, *analysis.references[:1]]
    columns = [
        column
        for column in range(len(results.manifest.columns))
        if all(_complete(results, column, other) for other in needed)
    ]
    gains = list(_gains(analysis, columns, name, "scratch"))
    gaps = [gap for c in columns if (gap := analysis.gaps[c, name]) is not None]
    return Overall(
        name,
        len(columns),
        fmean(gains) if gains else None,
        sum(round(gain, 2) <= 0 for gain in gains),
        fmean(gaps) if gaps else None,
        len(gaps),
        _ari(results, analysis, columns, name),
    )


def _gains(analysis: Analysis, columns: Sequence[int], name: str, other: str) -> Iterator[float]:
    for column in columns:
        ours, theirs = analysis.pairs.get((column, name, other), ((), ()))
        if ours:
            yield fmean(ours) - fmean(theirs)


def _ari(results: Results, analysis: Analysis, columns: Sequence[int], name: str) -> float | None:
    """Over kd, on the columns where both are complete; None where one denominator is noise."""
    if name in REFERENCES or set(REFERENCES) - set(analysis.references):
        return None
    both = [c for c in columns if all(_complete(results, c, other) for other in REFERENCES)]
    noise = [analysis.noise[results.manifest.columns[c].dataset] for c in both]
    ours = list(_gains(analysis, both, name, "scratch"))
    theirs = list(_gains(analysis, both, "kd", "scratch"))
    if any(n is None or reference <= n for n, reference in zip(noise, theirs, strict=True)):
        return None
    return significance.average_relative_improvement(ours, theirs, 0.0)
