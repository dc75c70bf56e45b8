import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from benchmark.report import load, plots
from benchmark.report.palette import looks
from benchmark.report.records import Results
from tests.report.grids import METHODS, PAIRS, finish, finish_all, manifest


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


@pytest.mark.parametrize("draw", [plots.accuracy, plots.curves])
@pytest.mark.parametrize("name", ["one", "six"])
def test_nothing_is_cut_and_no_texts_overlap(draw, name, request):
    figure = draw(request.getfixturevalue(name))
    boxes = [(text, text.get_window_extent()) for text in texts_of(figure)]
    assert len(boxes) > 10
    page = figure.bbox
    for text, box in boxes:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
    for (first, box), (second, other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other), (first, second)


def test_axes_have_labels_with_units_and_pictures_have_legends(one):
    accuracy, curves = plots.accuracy(one), plots.curves(one)
    assert accuracy.axes[0].get_xlabel() == "test top-1 on digits, last epoch (%)"
    assert curves.axes[0].get_ylabel() == "test top-1 on digits (%)"
    assert curves.axes[1].get_xlabel() == "epoch"
    (legend,) = accuracy.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["one seed", "mean ± std", "scratch, mean", "teacher"]
    (legend,) = curves.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == [*METHODS, "initialising phase", "range over seeds"]


def test_a_method_has_one_colour_in_both_pictures_and_in_the_legend(six):
    curves = plots.curves(six)
    (legend,) = curves.legends
    for axes in (plots.accuracy(six).axes[0], curves.axes[0]):
        for (name, look), handle in zip(
            looks(six.manifest.methods).items(), legend.get_lines(), strict=False
        ):
            assert lines_of(axes, look.colour), name
            assert to_hex(str(handle.get_color())) == look.colour


def test_every_seed_is_a_point_and_the_mean_stands_among_them(one):
    axes = plots.accuracy(one).axes[0]
    for name, look in looks(METHODS).items():
        tops = [o.record.result.top1 for o in one.students[0, name] if o.record]
        points = [across(line) for line in lines_of(axes, look.colour)]
        assert any(sorted(x) == sorted(tops) for x in points), name
        assert any(x == [pytest.approx(sum(tops) / 3)] for x in points), name


def test_what_is_not_there_is_said_in_words(six):
    axes = plots.accuracy(six).axes
    assert [text.get_text() for text in axes[2].texts] == ["0/3 seeds done"]
    assert [text.get_text() for text in axes[5].texts] == ["not applicable"]


def test_initialising_epochs_are_dashed_and_the_others_are_not(one):
    whole = plots.curves(one).axes[0]
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


def test_new_methods_get_looks_of_their_own_that_do_not_depend_on_the_suite():
    names = [*METHODS, *(f"new{i}" for i in range(8))]
    assert len(set(looks(names).values())) == len(names)
    assert looks(["new3"])["new3"] == looks(["kd", "new3"])["new3"]
    assert set(looks([f"new{i}" for i in range(30)])) == {f"new{i}" for i in range(30)}


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
