"""The statistics against numbers worked out by hand and against the definitions of the tests."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.report import Results, load_results, tabulate
from benchmark.report.statistics import significance as few
from benchmark.report.statistics.analysis import analyse, summarise_over_pairs
from benchmark.report.statistics.significance import Interval
from tests.report.grids import PAIRS, finish, manifest, run_id


def results(
    runs: Path, methods: list[str], columns: Mapping[str, Sequence[Sequence[float]]], **changes: Any
) -> Results:
    """Return results with teachers of 95 % and students of `columns[method][column][seed]` %."""
    n = len(next(iter(columns.values())))
    grid = manifest(methods, PAIRS[:n], **changes)
    for method, cells in columns.items():
        for column, values in enumerate(cells):
            finish(runs, f"{column}-teacher", 95)
            for seed, value in enumerate(values):
                finish(runs, run_id(column, method, seed), value)
    return load_results(grid, runs)


def test_the_bootstrap_interval_of_three_seeds_is_their_range():
    # One of 27 draws is thrice the lowest value: 3.7 %, more than the 2.5 % at that end.
    assert few.bootstrap_intervals([[95, 91, 92]]) == [Interval(91, 95)]


def test_fewer_than_three_seeds_have_no_interval():
    assert few.bootstrap_intervals([[], [90], [90, 91]]) == [None, None, None]


def test_an_interval_depends_on_its_own_values_alone():
    values = [90.3, 91.7, 92.2, 95.9, 90.8, 93.1, 91.2, 94.4, 92.9]  # draws of few would hide it
    alone = few.bootstrap_intervals([values])
    company = few.bootstrap_intervals([[1, 2, 3], values, list(reversed(values)), [3, 4, 5, 6, 7]])
    assert company[1] == alone[0]
    assert alone == few.bootstrap_intervals([values])


def test_the_interval_of_many_seeds_is_about_two_standard_errors_either_side():
    values = np.random.default_rng(3).normal(70, 1, 100).tolist()
    [found] = few.bootstrap_intervals([values])
    assert found is not None
    error = np.std(values, ddof=1) / 10
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_the_paired_test_is_students_t_on_the_differences():
    [test] = few.paired_t_tests([((92, 92.5, 94.5), (90, 91, 92))])
    assert test is not None
    t = 2.0 / (0.5 / math.sqrt(3))
    reach = stats.t.ppf(0.975, 2) * 0.5 / math.sqrt(3)
    assert test.p == pytest.approx(2 * stats.t.sf(t, 2))
    assert (test.interval.low, test.interval.high) == pytest.approx((2 - reach, 2 + reach))


def test_holms_correction_counts_only_comparisons_that_have_a_test():
    pairs = [([1.0, 2.0, 3.0 + gap], [0.0, 1.1, 2.0]) for gap in (0.0, 0.3, 3.0)]
    tests = few.paired_t_tests([*pairs, ([1.0], [2.0]), ([], [])])
    assert tests[3:] == [None, None]
    made = sorted((t for t in tests if t is not None), key=lambda test: test.p)
    assert made[0].holm == pytest.approx(3 * made[0].p)
    assert made[1].holm == pytest.approx(max(2 * made[1].p, made[0].holm))
    assert made[2].holm == pytest.approx(max(made[2].p, made[1].holm))


def test_equal_differences_of_all_seeds_have_no_test():
    # 0.1 + 0.2 is not 0.3: rounding must not pass for a spread.
    assert few.paired_t_tests([([0.1 + 0.2, 1.3, 2.3], [0.0, 1.0, 2.0])]) == [None]


def test_the_smallest_detectable_difference_is_significant_in_80_of_100_trials():
    pairs = [([1.0, 2.0, 4.0], [0.0, 0.0, 0.0]), ([2.0, 2.0, 5.0], [0.0, 0.0, 0.0])]
    found = few.smallest_detectable_difference(pairs)
    assert found is not None
    points, n = found
    noise = math.sqrt((7 / 3 + 3) / 2)
    assert n == 3
    drawn = np.random.default_rng(0).normal(points, noise, (20_000, 3))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(
        0.8, abs=0.01
    )


def test_with_single_seeds_no_detectable_difference_is_known(tmp_path):
    assert few.smallest_detectable_difference([([1.0], [2.0]), ([3.0], [2.0])]) is None
    made = results(tmp_path, ["scratch", "kd"], {"scratch": [[90]], "kd": [[91]]}, seeds=[0])
    assert "that these seeds resolve: unknown." in tabulate(made).caption


def test_ranks_friedman_and_nemenyi_agree_with_demsar_2006():
    # Demsar, JMLR 2006, section 3.2.2: 14 data sets, four classifiers.
    ranking = few.rank_methods(dict(zip("abcd", DEMSAR, strict=True)))
    assert ranking is not None
    assert [s.rank for s in ranking.standings] == pytest.approx(
        [3.143, 2.000, 2.893, 1.964], abs=1e-3
    )
    assert ranking.chi2 == pytest.approx(10.23, abs=0.01)  # 9.28 there, without regard to ties
    assert ranking.critical == pytest.approx(1.25, abs=0.005)
    assert ranking.nemenyi[0][3] == pytest.approx(ranking.nemenyi[3][0])
    assert ranking.critical is not None
    apart = abs(ranking.standings[0].rank - ranking.standings[3].rank) > ranking.critical
    assert (ranking.nemenyi[0][3] < 0.05) == apart


DEMSAR = [
    [7630, 5990, 9540, 6280, 8820, 9360, 6610, 5830, 7750, 10000, 9400, 6190, 9720, 9570],
    [7680, 5910, 9710, 6610, 8880, 9310, 6680, 5830, 8380, 10000, 9620, 6660, 9810, 9780],
    [7710, 5900, 9680, 6540, 8860, 9160, 6090, 5630, 8660, 10000, 9650, 6140, 9751, 9460],
    [7980, 5690, 9670, 6570, 8980, 9310, 6850, 6250, 8750, 10000, 9620, 6690, 9750, 9700],
]


def test_methods_that_are_always_tied_have_ranks_and_no_test():
    ranking = few.rank_methods({name: [90.0, 91.0] for name in "abc"})
    assert ranking is not None
    assert [s.rank for s in ranking.standings] == [2, 2, 2]
    assert (ranking.p, ranking.critical) == (None, None)


def test_the_gap_is_undefined_if_the_teacher_is_not_above_scratch_by_more_than_the_noise():
    assert few.gap_closed(1, teacher=94, scratch=92, noise=0.5) == 50
    assert few.gap_closed(-1, teacher=94, scratch=92, noise=0.5) == -50
    assert few.gap_closed(1, teacher=92.4, scratch=92, noise=0.5) is None
    assert few.gap_closed(1, teacher=91, scratch=92, noise=0) is None


def test_ari_is_undefined_if_kd_is_not_above_scratch_by_more_than_the_noise(tmp_path):
    kd = {"scratch": [[90, 90.1, 90.2]] * 2, "kd": [[92, 92.2, 92.1], [94, 94.2, 94.1]]}
    at = {"at": [[93, 93.2, 93.1], [96, 96.2, 96.1]]}
    made = results(tmp_path / "a", ["scratch", "kd", "at"], kd | at)
    summary = summarise_over_pairs(made, analyse(made))
    assert summary is not None
    assert [line.ari for line in summary.lines] == [None, None, pytest.approx(50)]

    noisy = kd | {"kd": [[92, 92.2, 92.1], [90, 90.2, 90.1]]}
    made = results(tmp_path / "b", ["scratch", "kd", "at"], noisy | at)
    summary = summarise_over_pairs(made, analyse(made))
    assert summary is not None
    assert summary.lines[2].ari is None


def test_kd_against_scratch_and_scratch_against_kd_are_one_test_that_counts_once(tmp_path):
    made = results(tmp_path, ["scratch", "kd"], {"scratch": [[90, 91, 92]], "kd": [[92, 92.5, 95]]})
    found = analyse(made)
    there, back = found.tests[0, "kd", "scratch"], found.tests[0, "scratch", "kd"]
    assert there is not None
    assert back is not None
    assert found.family == 1
    assert (back.p, back.holm) == (there.p, there.holm)
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)


def test_ranks_are_over_the_columns_in_which_every_ranked_method_is_complete(tmp_path):
    whole = {"scratch": [[90] * 3] * 3, "kd": [[91] * 3] * 3, "at": [[92] * 3] * 3}
    reasons = {(0, "fsp"): "widths differ"}
    results(tmp_path, ["scratch", "kd", "at"], whole)
    (tmp_path / run_id(2, "at", 1) / "record.json").unlink()
    grid = manifest(["scratch", "kd", "at", "fsp"], PAIRS[:3], inapplicable=reasons)
    made = load_results(grid, tmp_path)
    summary = summarise_over_pairs(made, analyse(made))
    assert summary is not None
    assert summary.ranking is not None
    assert summary.ranking.blocks == 2
    assert {s.name: s.rank for s in summary.ranking.standings} == {"at": 1, "kd": 2, "scratch": 3}
    assert summary.unranked == ("fsp",)
    assert [line.columns for line in summary.lines[1:]] == [3, 2, 0]
    assert summary.lines[1].gap == pytest.approx(20)
