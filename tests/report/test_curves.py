from collections.abc import Iterator
from statistics import fmean

import matplotlib as mpl
import numpy as np
import pytest

from benchmark.report import load
from benchmark.report.palette import method_styles
from benchmark.report.plots import curves
from benchmark.report.plots.canvas import Board, Panel, Pen, thin
from benchmark.report.plots.small_multiples import REFERENCES, place, plan
from benchmark.report.plots.style import DROP, STYLE
from benchmark.report.results.outcomes import Results
from tests.report.drawn import Stroke, across, has, lines_of, strokes, texts_of, words_of
from tests.report.grids import FIELD, METHODS, finish, manifest


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
    assert "▾ 43.7" in words_of(pictures("thirty")["curves"])
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
    width, _ = pictures("table")["accuracy"].get_size_inches()
    assert width < 9  # seven pairs, at most six beside each other, are four and three


def test_initialising_epochs_are_dashed_and_the_others_are_not(pictures):
    whole = pictures("one")["curves"].axes[0]
    for name, look in method_styles(METHODS).items():
        dashed, solid = lines_of(whole, look.colour)
        start = 5 if name in ("fitnets", "fsp", "ab") else 0
        assert dashed.is_dashed()
        assert not solid.is_dashed()
        assert across(dashed) == list(range(1, start + 2))
        assert across(solid) == list(range(start + 1, 21))


def test_the_curve_is_the_mean_and_the_band_the_range_over_seeds(tmp_path):
    for seed, top1 in enumerate([90, 91, 95]):
        finish(tmp_path, f"0-kd-s{seed}", top1, epochs=1)
    axes = curves.draw(load(manifest(["kd"], epochs=1), tmp_path)).axes[0]
    assert np.asarray(axes.lines[-1].get_ydata()).tolist() == [92.0]
    band = np.asarray(axes.collections[0].get_paths()[0].vertices)
    assert (min(band[:, 1]), max(band[:, 1])) == (90.0, 95.0)


@pytest.mark.parametrize("rows", [10, 11])
def test_curves_mark_where_the_learning_rate_drops(tmp_path, rows):
    finish(tmp_path, "0-kd-s0", 91, drops=(12, 17))
    results = load(manifest(["kd", *(f"new{i}" for i in range(1, rows))]), tmp_path)
    figure = curves.draw(results)
    assert "learning rate drops" in words_of(figure)
    if rows == 10:
        drawn = [across(line) for line in lines_of(figure.axes[0], _grey(DROP["color"]))]
        assert drawn == [[12, 12], [17, 17]]
        (late,) = lines_of(figure.axes[1], _grey(DROP["color"]))
        assert across(late) == [17, 17]
    else:
        whole, end = next(panels(results))[2:]
        for panel, epochs in ((whole, (12, 17)), (end, (17,))):
            for epoch in epochs:
                upright = panel.at(epoch, panel.y)
                assert has(strokes(figure), _grey(DROP["color"]), True, upright)


def _grey(level: str) -> str:
    return mpl.colors.to_hex(level)


def test_up_to_ten_methods_share_a_panel_and_with_more_each_has_its_own(tmp_path):
    finish(tmp_path, "0-kd-s0", 91)
    for rows, axes in ((10, 2), (11, 1)):  # small multiples are drawn on one
        grid = manifest(["kd", *(f"new{i}" for i in range(1, rows))])
        assert len(curves.draw(load(grid, tmp_path)).axes) == axes


def panels(results: Results) -> Iterator[tuple[int, str, Panel, Panel]]:
    """The pair, the method and the two halves of each panel of small multiples."""
    with mpl.rc_context(STYLE):
        made = plan(results)
    for column in range(len(results.manifest.columns)):
        for row, method in enumerate(results.manifest.methods):
            yield column, method, *place(made.sheet, row, column, made.limits)


def means_of(results: Results, pair: int, method: str) -> list[float]:
    histories = [o.record.history for o in results.students[pair, method] if o.record]
    return [fmean(e.top1 for e in epochs) for epochs in zip(*histories, strict=True)]


def drawn(found: list[Stroke], panel: Panel, pen: Pen, first: int, means: list[float]) -> bool:
    points = panel.at(range(first + 1, first + len(means) + 1), means)
    inside = points[points[:, 1] <= panel.bottom + 1e-9]
    return not len(inside) or has(found, pen.colour, pen.dashes != "solid", points)


@pytest.mark.parametrize("suite", ["thirty", "table"])
def test_every_row_has_its_panel_with_its_own_line_and_scratch_and_kd_in_grey(
    suite, pictures, request
):
    results = request.getfixturevalue(suite)
    colours, found = method_styles(results.manifest.methods), strokes(pictures(suite)["curves"])
    for pair, method, *halves in panels(results):
        means = means_of(results, pair, method)
        for panel, first in zip(halves, (0, 12), strict=True):
            start = max(first, 4 if method in ("fitnets", "fsp", "ab") else 0)
            own = Pen(colours[method].colour, 1)
            assert drawn(found, panel, own, start, means[start:]), method
            if method in ("fitnets", "ab") and first == 0:
                before = own._replace(dashes=(0, (1, 1)))
                assert drawn(found, panel, before, 0, means[:5]), method
            for name, pen in REFERENCES.items():
                if means and name != method:
                    others = means_of(results, pair, name)[first:]
                    assert drawn(found, panel, pen, first, others), (method, name)


@pytest.mark.parametrize("suite", ["thirty", "table"])
def test_a_panel_stands_below_its_name_or_right_of_it(suite, pictures, request):
    results, figure = request.getfixturevalue(suite), pictures(suite)["curves"]
    texts = [text for text in texts_of(figure) if text.get_fontsize() == 8]
    names = dict(zip(results.manifest.methods, texts, strict=False))
    for pair, method, whole, _ in panels(results):
        assert method.startswith(names[method].get_text().rstrip("…"))
        x, y = names[method].get_position()
        if suite == "thirty":
            assert (x, y) == pytest.approx((whole.left, whole.top), abs=0.06)
            assert y < whole.top
        elif pair == 0:
            assert x < whole.left
            assert whole.top < y < whole.bottom


def test_panels_share_their_axes_and_the_right_half_shows_the_last_quarter(table):
    shown = list(panels(table))
    assert len({(whole.x, whole.y) for *_, whole, _ in shown}) == 1
    for column in range(7):
        assert len({(end.x, end.y) for pair, _, _, end in shown if pair == column}) == 1
    late = [t for m in METHODS for t in means_of(table, 1, m)[12:]]
    end = next(end for pair, _, _, end in shown if pair == 1)
    assert end.x == pytest.approx((13, 16), abs=0.2)
    assert end.y[0] < min(late) < max(late) < end.y[1]
    assert end.y[0] > 60


def test_small_multiples_say_what_is_not_there(pictures):
    said = words_of(pictures("thirty")["curves"])
    for words in ("not applicable", "0/3 seeds done", "2/3 seeds"):
        assert said.count(words) == 1


def test_a_line_below_its_panel_is_cut_off_where_it_leaves_it():
    board, panel = Board(2, 2), Panel(0, 0, 1, 1, (0, 4), (0, 1))
    board.curve(panel, Pen("0.5", 1), [0, 1, 2, 3, 4], [1, 0.5, -0.5, -0.5, 0.5])
    (line,) = strokes(board.finish())
    seen = line.points[~np.isnan(line.points).any(axis=1)]
    assert seen.max() <= 1
    assert np.allclose(seen, [(0, 0), (0.25, 0.5), (0.375, 1), (0.875, 1), (1, 0.5)])


def test_what_no_eye_can_see_is_left_out_but_the_first_and_the_last_never():
    assert thin(5, 1).tolist() == [0, 1, 2, 3, 4]
    places = thin(10_000, 0.5)
    assert len(places) == 60
    assert (places[0], places[-1]) == (0, 9_999)
