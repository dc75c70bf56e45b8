from itertools import chain
from statistics import fmean

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report import load_results
from benchmark.report.palette import method_styles
from benchmark.report.plots import curves
from benchmark.report.plots.style import DROP
from benchmark.report.results.outcomes import Results
from tests.report.drawn import across, lines_of, there, words_of
from tests.report.grids import FIELD, INITIALISING, METHODS, PAIRS, finish, manifest


def test_every_seed_is_a_point_and_the_mean_stands_among_them(one, pictures):
    axes = pictures("one")["accuracy"].axes[0]
    for name, look in method_styles(METHODS).items():
        tops = [o.record.result.top1 for o in one.students[0, name] if o.record]
        points = [across(line) for line in lines_of(axes, look.colour)]
        assert any(sorted(x) == sorted(tops) for x in points), name
        assert any(x == [pytest.approx(sum(tops) / 3)] for x in points), name


@pytest.mark.parametrize("suite", ["six", "thirty"])
def test_a_row_stands_at_its_name(suite, pictures, request):
    results = request.getfixturevalue(suite)
    axes = pictures(suite)["accuracy"].axes[0]
    points = {
        (x, round(y, 2))
        for line in axes.lines
        for x, y in np.asarray(line.get_xydata()).tolist()
        if line.get_marker() == "o"
    }
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == len(results.manifest.methods)
    for row, method in enumerate(results.manifest.methods):
        tops = [o.record.result.top1 for o in results.students[0, method] if o.record]
        assert {(top, round(row + 0.18, 2)) for top in tops} <= points, method
        assert names[row][:10] == " ".join(method.split())[:10]


def test_what_is_not_there_is_said_in_words(pictures):
    axes = pictures("six")["accuracy"].axes
    assert [text.get_text() for text in axes[2].texts] == ["0/3 seeds done"]
    assert [text.get_text() for text in axes[5].texts] == ["not applicable"]


def test_one_row_far_behind_is_said_in_numbers_and_does_not_squash_the_others(thirty, pictures):
    words = chain(*(words_of(figure) for figure in curve_pictures(pictures("thirty"))))
    assert [word for word in words if "▾" in word] == ["at untaught ▾ 43.7"]
    axes = pictures("thirty")["accuracy"].axes[0]
    said = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert said["◂ 41.5, 44.0, 45.5"] == FIELD.index("at untaught")
    tops = [o.record.result.top1 for o in thirty.teachers if o.record]
    tops += [
        o.record.result.top1
        for (_, method), outcomes in thirty.students.items()
        for o in outcomes
        if o.record and method != "at untaught"
    ]
    low, high = axes.get_xlim()
    assert low < min(tops) < max(tops) < high < low + 10


def test_pairs_stand_in_rows_of_equal_length(pictures):
    width, _ = pictures("table")["accuracy-1"].get_size_inches()
    assert width < 9  # four panels, at most six beside each other


def curve_pictures(pictures: dict[str, Figure]) -> list[Figure]:
    return [figure for name, figure in pictures.items() if name.startswith("curves")]


def panels(
    results: Results, pictures: dict[str, Figure]
) -> list[tuple[int, list[str], Axes, Axes]]:
    """Return the pair, the methods, and the two axes of each panel of curves."""
    found = []
    groups = curves.method_groups(results.manifest.methods)
    figures = curve_pictures(pictures)
    column = 0
    for page in (figures[i : i + len(groups)] for i in range(0, len(figures), len(groups))):
        for methods, figure in zip(groups, page, strict=True):
            halves = stacks(figure)
            found += [(column + i, list(methods), *axes) for i, axes in enumerate(halves)]
        column += len(halves)
    assert column == len(results.manifest.columns)
    return found


def stacks(figure: Figure) -> list[tuple[Axes, Axes]]:
    """Return the upper and lower axes of each panel, row by row."""
    rows: dict[int, list[Axes]] = {}
    for axes in figure.axes:
        rows.setdefault(there(axes.get_subplotspec()).rowspan.start, []).append(axes)
    return [
        pair
        for row in range(0, len(rows), 2)
        for pair in zip(rows[row], rows[row + 1], strict=True)
    ]


def means_of(results: Results, pair: int, method: str) -> list[float]:
    histories = [o.record.history for o in results.students[pair, method] if o.record]
    return [fmean(e.top1 for e in epochs) for epochs in zip(*histories, strict=True)]


def heights(line: Line2D) -> list[float]:
    values: list[float] = np.asarray(line.get_ydata(), float).tolist()
    return values


def test_initialising_epochs_are_dashed_and_the_others_are_not(pictures):
    whole = pictures("one")["curves"].axes[0]
    for name, style in method_styles(METHODS).items():
        *dashed, solid = lines_of(whole, style.colour)
        start = 5 if name in INITIALISING else 0
        assert [line.is_dashed() for line in dashed] == [True] * (start > 0)
        assert [across(line) for line in dashed] == [list(range(1, start + 2))] * (start > 0)
        assert not solid.is_dashed()
        assert across(solid) == list(range(start + 1, 21))


def test_the_curve_is_the_mean_and_the_band_the_range_over_seeds(tmp_path):
    for seed, top1 in enumerate([90, 91, 95]):
        finish(tmp_path, f"0-kd-s{seed}", top1, epochs=2)
    axes = next(curves.draw(load_results(manifest(["kd"], epochs=2), tmp_path))).axes[0]
    assert heights(axes.lines[-1])[-1] == 92.0
    band = np.asarray(axes.collections[0].get_paths()[0].vertices)
    last = band[band[:, 0] == 2]
    assert (min(last[:, 1]), max(last[:, 1])) == (90.0, 95.0)


def test_a_curve_of_one_epoch_is_a_marker_with_a_bar(tmp_path):
    for seed, top1 in enumerate([90, 91, 95]):
        finish(tmp_path, f"0-kd-s{seed}", top1, epochs=1)
    figure = next(curves.draw(load_results(manifest(["kd"], epochs=1), tmp_path)))
    for axes in figure.axes:
        (line,) = axes.lines
        assert (across(line), heights(line)) == ([1], [92.0])
        assert line.get_marker() == method_styles(["kd"])["kd"].marker
        assert line.get_markevery() is None
        (lines,) = axes.collections
        assert isinstance(lines, LineCollection)
        (bar,) = lines.get_segments()
        assert bar.tolist() == [[1, 90], [1, 95]]
        assert [t for t in axes.get_xticks() if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]] == [
            1
        ]


def test_a_last_phase_of_one_epoch_has_a_marker_for_every_method(tmp_path):
    rows = ["scratch", *INITIALISING]
    for method in rows:
        finish(tmp_path, f"0-{method}-s0", 90, method, epochs=8)
        path = tmp_path / f"0-{method}-s0" / "record.json"
        text = path.read_text()
        if method in INITIALISING:
            head, tail = text.rsplit('"phase": "distill"', 1)
            path.write_text(
                head.replace('"distill"', f'"{INITIALISING[method]}"') + '"phase": "distill"' + tail
            )
    figure = next(curves.draw(load_results(manifest(rows, seeds=[0], epochs=8), tmp_path)))
    for name, style in method_styles(rows).items():
        last = lines_of(figure.axes[0], style.colour)[-1]
        if name in INITIALISING:
            assert across(last) == [8]
            assert (last.get_marker(), last.get_markevery()) == (style.marker, None)


def test_curves_mark_where_the_learning_rate_drops(tmp_path):
    for method in ("kd", "at"):
        finish(tmp_path, f"0-{method}-s0", 91, method, drops=(12, 17))
    figure = next(curves.draw(load_results(manifest(["kd", "at", "ab"]), tmp_path)))
    assert "learning rate drops" in words_of(figure)
    grey = to_hex(DROP["color"])
    assert [across(line) for line in lines_of(figure.axes[0], grey)] == [[12, 12], [17, 17]]
    assert [across(line) for line in lines_of(figure.axes[1], grey)] == [[17, 17]]


def test_methods_with_other_drops_have_them_marked_on_their_own_curves(tmp_path):
    finish(tmp_path, "0-kd-s0", 91, "kd", drops=(12, 17))
    finish(tmp_path, "0-ab-s0", 90, "ab", drops=(14, 18))
    finish(tmp_path, "0-at-s0", 90, "at")
    results = load_results(manifest(["kd", "ab", "at"]), tmp_path)
    figure = next(curves.draw(results))
    assert "learning rate drops (each its own)" in words_of(figure)
    assert "learning rate drops" not in words_of(figure)
    styles = method_styles(["kd", "ab", "at"])
    for axes in figure.axes:
        assert not lines_of(axes, to_hex(DROP["color"]))
        for name, epochs in (("kd", [12, 17]), ("ab", [14, 18]), ("at", [])):
            marks = [
                line for line in lines_of(axes, styles[name].colour) if line.get_marker() == "|"
            ]
            assert list(chain(*map(across, marks))) == epochs
            tops = means_of(results, 0, name)
            assert list(chain(*map(heights, marks))) == [tops[epoch - 1] for epoch in epochs]


def test_methods_are_grouped_so_that_each_has_a_style_of_its_own():
    assert curves.method_groups(METHODS) == [METHODS]
    new = [f"new{i}" for i in range(9)]
    for methods in ([*METHODS, *new], FIELD, new, ["kd", *new]):
        groups = curves.method_groups(methods)
        assert len(groups) > 1
        for group in groups:
            assert len(group) <= 10
            assert len(set(method_styles(group).values())) == len(group)
            assert {"scratch", "kd"} & set(methods) <= set(group)
        assert list(dict.fromkeys(chain(*groups))) == list(methods)


@pytest.mark.parametrize("suite", ["six", "thirty", "table"])
def test_every_method_has_its_line_on_every_pair_in_its_colour_and_in_the_legend(
    suite, pictures, request
):
    results = request.getfixturevalue(suite)
    drawn = set()
    for pair, methods, *halves in panels(results, pictures(suite)):
        for name, style in method_styles(methods).items():
            drawn.add((pair, name))
            means = means_of(results, pair, name)
            first = 3 * results.manifest.epochs // 4
            for axes, begin in zip(halves, (0, first), strict=True):
                found = dict[float, float]()
                for line in lines_of(axes, style.colour):
                    found |= dict(zip(across(line), heights(line), strict=True))
                wanted = dict(enumerate(means[begin:], start=begin + 1))
                assert found == wanted, (pair, name)
        labels = [text.get_text() for text in halves[0].figure.legends[0].get_texts()]
        for name, label in zip(methods, labels, strict=False):
            assert " ".join(name.split()).startswith(label.rstrip("…"))
    assert drawn == set(results.students)


def test_panels_of_a_pair_share_their_axes_and_the_lower_ones_show_the_last_quarter(
    table, pictures
):
    shown = panels(table, pictures("table"))
    for column in range(7):
        here = [halves for pair, _, *halves in shown if pair == column]
        assert len(here) == 2
        for index in range(2):
            assert len({(axes[index].get_xlim(), axes[index].get_ylim()) for axes in here}) == 1
    late = [t for m in METHODS for t in means_of(table, 1, m)[12:]]
    end = next(end for pair, *_, end in shown if pair == 1)
    assert end.get_xlim() == pytest.approx((13, 16), abs=0.2)
    low, high = end.get_ylim()
    assert 60 < low < min(late) < max(late) < high


def test_curves_say_which_methods_lack_seeds(pictures):
    words = [word for figure in curve_pictures(pictures("thirty")) for word in words_of(figure)]
    said = "\n".join(words)
    for line in ("not applicable: fsp", "0/3 seeds done: rkd", "2/3 seeds done: vid"):
        assert said.count(line) == 1


def test_a_pair_without_a_finished_run_says_so(tmp_path):
    finish(tmp_path, "0-kd-s0", 91)
    results = load_results(manifest(["kd"], PAIRS[:2], seeds=[0]), tmp_path)
    figure = next(curves.draw(results))
    assert [text.get_text() for text in figure.axes[1].texts] == ["0/1 seeds done"]
