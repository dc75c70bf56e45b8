from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from benchmark.report import load, plots
from benchmark.report.multiples import REFERENCES
from benchmark.report.palette import looks
from benchmark.report.records import Results
from tests.report.grids import (
    FIELD,
    METHODS,
    PAIRS,
    fail,
    finish,
    finish_all,
    manifest,
    run_id,
)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Results:
    runs = tmp_path_factory.mktemp("one")
    grid = manifest()
    finish_all(runs, grid)
    return load(grid, runs)


@pytest.fixture(scope="module")
def six(tmp_path_factory) -> Results:
    """Six pairs with holes, seven methods of which one has a name as long and nasty as any."""
    runs = tmp_path_factory.mktemp("six")
    grid = manifest(
        [*METHODS, "a $x^{$\nlong_ name in two lines & more"],
        [*PAIRS[:5], ("a_teacher_with_a_name_far_too_long_for_a_title", "wrn_40_1")],
        inapplicable={(5, "fsp"): "widths differ"},
        epochs=40,
    )
    finish_all(runs, grid)
    for run in ["1-kd-s1", "2-ab-s0", "2-ab-s1", "2-ab-s2"]:
        (runs / run / "record.json").unlink()
    return load(grid, runs)


@pytest.fixture(scope="module")
def thirty(tmp_path_factory) -> Results:
    """One pair, thirty rows; one trails far behind, two are incomplete, one has nothing to show."""
    return crowd(tmp_path_factory.mktemp("thirty"), FIELD, PAIRS[1:2], epochs=16)


@pytest.fixture(scope="module")
def eleven(tmp_path_factory) -> Results:
    rows = [*METHODS, "rkd", "at+kd", "vid", "W" * 40, "at untaught"]
    return crowd(tmp_path_factory.mktemp("eleven"), rows, PAIRS[1:2], epochs=240)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Results:
    """Six pairs of eleven rows."""
    rows = [*METHODS, "rkd", "vid", "simkd", "a label of nearly forty letters; no less", "at+kd"]
    pairs = [*PAIRS[:5], ("a_teacher_with_a_name_far_too_long_for_a_title", "wrn_40_1")]
    return crowd(tmp_path_factory.mktemp("table"), rows, pairs, epochs=16)


def crowd(runs: Path, rows: list[str], pairs: list[tuple[str, str]], epochs: int) -> Results:
    grid = manifest(rows, pairs, inapplicable={(0, "fsp"): "widths differ"}, epochs=epochs)
    finish_all(runs, grid)
    for seed, top1 in enumerate([41.5, 44.0, 45.5] if "at untaught" in rows else []):
        finish(runs, run_id(0, "at untaught", seed), top1, epochs=epochs)
    for run in ["0-vid-s1", "0-rkd-s0", "0-rkd-s1", "0-rkd-s2"]:
        if (runs / run / "record.json").exists():
            (runs / run / "record.json").unlink()
            fail(runs, run, "the loss is not a number")
    return load(grid, runs)


@pytest.fixture(scope="module")
def picture(request) -> Callable[[str, str], Figure]:
    """Each picture of each suite, drawn once."""
    return cache(lambda kind, suite: getattr(plots, kind)(request.getfixturevalue(suite)))


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is drawn: ticks beyond the limits of their axis are not."""
    figure.canvas.draw()
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text not in beyond]
    return [text for text in found if text.get_text().strip()]


def lines_of(axes: Axes, colour: str) -> list[Line2D]:
    return [line for line in axes.lines if to_hex(line.get_color()) == colour]


def across(line: Line2D) -> list[float]:
    values: list[float] = np.asarray(line.get_xdata()).tolist()
    return values


@pytest.mark.parametrize("kind", ["accuracy", "curves"])
@pytest.mark.parametrize("suite", ["one", "six", "eleven", "thirty", "table"])
def test_nothing_is_cut_and_no_texts_overlap(kind, suite, picture):
    figure = picture(kind, suite)
    texts = texts_of(figure)
    assert len(texts) > 10
    boxes = np.array([text.get_window_extent().extents for text in texts])
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = (low >= figure.bbox.min).all(axis=1) & (high <= figure.bbox.max).all(axis=1)
    assert [text for text, fits in zip(texts, inside, strict=True) if not fits] == []
    meet = (low[:, None] < high[None]).all(axis=2) & (low[None] < high[:, None]).all(axis=2)
    pairs = np.argwhere(np.triu(meet, k=1))
    assert [(texts[i], texts[j]) for i, j in pairs] == []


def test_axes_have_labels_with_units_and_pictures_have_legends(picture):
    accuracy, curves = picture("accuracy", "one"), picture("curves", "one")
    assert accuracy.axes[0].get_xlabel() == "test top-1 on digits, last epoch (%)"
    assert curves.axes[0].get_ylabel() == "test top-1 on digits (%)"
    assert curves.axes[1].get_xlabel() == "epoch"
    (legend,) = accuracy.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["one seed", "mean ± std", "scratch, mean", "teacher"]
    (legend,) = curves.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == [*METHODS, "initialising phase", "range over seeds"]


def test_a_method_has_one_colour_in_both_pictures_and_in_the_legend(six, picture):
    curves = picture("curves", "six")
    (legend,) = curves.legends
    for axes in (picture("accuracy", "six").axes[0], curves.axes[0]):
        for (name, look), handle in zip(
            looks(six.manifest.methods).items(), legend.get_lines(), strict=False
        ):
            assert lines_of(axes, look.colour), name
            assert to_hex(str(handle.get_color())) == look.colour


def test_every_seed_is_a_point_and_the_mean_stands_among_them(one, picture):
    axes = picture("accuracy", "one").axes[0]
    for name, look in looks(METHODS).items():
        tops = [o.record.result.top1 for o in one.students[0, name] if o.record]
        points = [across(line) for line in lines_of(axes, look.colour)]
        assert any(sorted(x) == sorted(tops) for x in points), name
        assert any(x == [pytest.approx(sum(tops) / 3)] for x in points), name


def test_what_is_not_there_is_said_in_words(picture):
    axes = picture("accuracy", "six").axes
    assert [text.get_text() for text in axes[2].texts] == ["0/3 seeds done"]
    assert [text.get_text() for text in axes[5].texts] == ["not applicable"]


def test_initialising_epochs_are_dashed_and_the_others_are_not(picture):
    whole = picture("curves", "one").axes[0]
    for name, look in looks(METHODS).items():
        dashed, solid = lines_of(whole, look.colour)
        start = 5 if name in ("fitnets", "fsp", "ab") else 0
        assert dashed.is_dashed()
        assert not solid.is_dashed()
        assert across(dashed) == list(range(1, start + 2))
        assert across(solid) == list(range(start + 1, 21))


def test_the_curve_is_the_mean_and_the_band_the_range_over_seeds(tmp_path):
    for seed, top1 in enumerate([90, 91, 95]):
        finish(tmp_path, f"0-kd-s{seed}", top1, epochs=1)
    axes = plots.curves(load(manifest(["kd"], epochs=1), tmp_path)).axes[0]
    assert np.asarray(axes.lines[-1].get_ydata()).tolist() == [92.0]
    band = np.asarray(axes.collections[0].get_paths()[0].vertices)
    assert (min(band[:, 1]), max(band[:, 1])) == (90.0, 95.0)


def test_up_to_ten_methods_share_a_panel_and_with_more_each_has_its_own(tmp_path):
    finish(tmp_path, "0-kd-s0", 91)
    for rows, axes in ((10, 2), (11, 22)):
        grid = manifest(["kd", *(f"new{i}" for i in range(1, rows))])
        assert len(plots.curves(load(grid, tmp_path)).axes) == axes


def panels(figure: Figure, results: Results) -> list[tuple[int, str, Axes, Axes]]:
    """The pair, the method and the two halves of each panel of small multiples."""
    grid, halves = results.manifest, iter(figure.axes)
    places = [(pair, method) for method in grid.methods for pair in range(len(grid.columns))]
    found = [(pair, method, next(halves), next(halves)) for pair, method in places]
    assert list(halves) == []
    return found


def means_of(results: Results, pair: int, method: str) -> list[float]:
    histories = [o.record.history for o in results.students[pair, method] if o.record]
    return [fmean(e.top1 for e in epochs) for epochs in zip(*histories, strict=True)]


@pytest.mark.parametrize("suite", ["thirty", "table"])
def test_every_row_has_its_panel_with_its_own_line_and_scratch_and_kd_in_grey(
    suite, picture, request
):
    results = request.getfixturevalue(suite)
    colours = looks(results.manifest.methods)
    for pair, method, *halves in panels(picture("curves", suite), results):
        for axes, first in zip(halves, (0, 12), strict=True):
            shown = [
                (line.get_color(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines
            ]
            means = means_of(results, pair, method)
            start = max(first, 4 if method in ("fitnets", "fsp", "ab") else 0)
            others = [name for name in REFERENCES if name != method]
            expected = [
                (REFERENCES[n]["color"], means_of(results, pair, n)[first:]) for n in others
            ]
            expected += [(colours[method].colour, means[first : start + 1])]
            expected += [(colours[method].colour, means[start:])]
            assert shown == (expected if means else []), (pair, method)


def test_initialising_epochs_are_dashed_in_small_multiples_too(thirty, picture):
    for _, method, whole, _ in panels(picture("curves", "thirty"), thirty):
        if whole.lines:
            *_, dashed, solid = whole.lines
            assert dashed.is_dashed()
            assert not solid.is_dashed()
            assert len(across(dashed)) == (5 if method in ("fitnets", "ab") else 1), method


@pytest.mark.parametrize("suite", ["thirty", "table"])
def test_a_panel_stands_below_its_name_or_right_of_it(suite, picture, request):
    results, figure = request.getfixturevalue(suite), picture("curves", suite)
    for pair, method, whole, _ in panels(figure, results):
        label = figure.texts[results.manifest.methods.index(method)]
        assert method.startswith(label.get_text().rstrip("…"))
        name, box = label.get_window_extent(), whole.get_window_extent()
        if suite == "thirty":
            assert name.x0 == pytest.approx(box.x0, abs=3)
            assert box.y1 < name.y0 < box.y1 + 12
        elif pair == 0:
            assert name.x1 < box.x0
            assert box.y0 < (name.y0 + name.y1) / 2 < box.y1


def test_panels_share_their_axes_and_the_right_half_shows_the_last_quarter(table, picture):
    shown = panels(picture("curves", "table"), table)
    assert len({(whole.get_xlim(), whole.get_ylim()) for *_, whole, _ in shown}) == 1
    for column in range(6):
        ends = [end for pair, _, _, end in shown if pair == column]
        assert len({(end.get_xlim(), end.get_ylim()) for end in ends}) == 1
    late = [t for m in METHODS for t in means_of(table, 1, m)[12:]]
    end = next(end for pair, _, _, end in shown if pair == 1)
    assert end.get_xlim() == pytest.approx((13, 16), abs=0.2)
    assert end.get_ylim()[0] < min(late) < max(late) < end.get_ylim()[1]
    assert end.get_ylim()[0] > 60


def test_one_row_far_behind_does_not_squash_the_others_but_is_said_in_numbers(thirty, picture):
    ends = {method: end for _, method, _, end in panels(picture("curves", "thirty"), thirty)}
    assert [text.get_text() for text in ends["at untaught"].texts] == ["▾ 43.7"]
    axes = picture("accuracy", "thirty").axes[0]
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


def test_small_multiples_say_what_is_not_there(thirty, picture):
    said = {
        method: text.get_text()
        for _, method, whole, _ in panels(picture("curves", "thirty"), thirty)
        for text in whole.texts
    }
    assert said == {"fsp": "not applicable", "rkd": "0/3 seeds done", "vid": "2/3 seeds"}


@pytest.mark.parametrize("suite", ["six", "thirty"])
def test_a_row_stands_at_its_name(suite, picture, request):
    results = request.getfixturevalue(suite)
    axes = picture("accuracy", suite).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == len(results.manifest.methods)
    for place, method in enumerate(results.manifest.methods):
        tops = [o.record.result.top1 for o in results.students[0, method] if o.record]
        at = [line for line in axes.lines if across(line) == tops]
        assert not tops or any(np.asarray(line.get_ydata())[0] == place + 0.18 for line in at), (
            method
        )
        assert names[place][:10] == " ".join(method.split())[:10]


@pytest.mark.parametrize("kind", plots.KINDS)
def test_the_same_records_give_the_same_bytes(one, kind):
    first, second = (plots.encode(plots.accuracy(one), kind) for _ in range(2))
    assert first == second
    assert b"CreationDate" not in first


def test_drawing_leaves_nothing_behind_in_matplotlib(one):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    plots.encode(plots.curves(one), "pdf")
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
