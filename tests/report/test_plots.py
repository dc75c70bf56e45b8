from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from benchmark.report import load_results, plots
from benchmark.report.palette import method_styles
from benchmark.report.plots import curves
from tests.report.conftest import name_pictures
from tests.report.drawn import lines_of, texts_of, there
from tests.report.grids import METHODS, finish, manifest

SUITES = ["one", "six", "eleven", "thirty", "table"]
EXTREME = ["long_names", "brief"]
SINGLE = {"accuracy", "curves", "cost", "fidelity", "losses"}


@pytest.mark.parametrize("suite", SUITES + EXTREME)
def test_nothing_is_cut_and_no_texts_overlap(suite, pictures):
    for name, figure in pictures(suite).items():
        texts = texts_of(figure)
        assert len(texts) > 8
        boxes = np.array([text.get_window_extent().extents for text in texts])
        low, high = boxes[:, :2], boxes[:, 2:]
        inside = (low >= figure.bbox.min).all(axis=1) & (high <= figure.bbox.max).all(axis=1)
        assert [text for text, fits in zip(texts, inside, strict=True) if not fits] == [], name
        meet = (low[:, None] < high[None]).all(axis=2) & (low[None] < high[:, None]).all(axis=2)
        pairs = np.argwhere(np.triu(meet, k=1))
        assert [(texts[i], texts[j]) for i, j in pairs] == [], name


def test_pictures_with_nothing_to_say_are_left_out(pictures):
    for suite in SUITES:
        several = {"ranks", "over-scratch", "over-kd"} if suite in ("six", "table") else set()
        assert {name.rstrip("-123456789") for name in pictures(suite)} == SINGLE | several, suite


def test_records_without_times_measures_and_losses_still_have_two_pictures(tmp_path):
    finish(tmp_path, "0-kd-s0", 91, epochs=2)
    results = load_results(manifest(["kd"]), tmp_path)
    (outcome, *_) = results.students[0, "kd"]
    done = there(outcome.record)
    history = tuple(replace(epoch, losses={}, lr=None) for epoch in done.history)
    size = replace(done.cost, seconds=0.0, step_seconds=None)
    record = replace(done, history=history, cost=size, measures=None)
    bare = replace(results, students={(0, "kd"): (replace(outcome, record=record, fidelity=None),)})
    assert list(name_pictures(bare)) == ["accuracy", "curves"]


def test_a_method_has_one_colour_in_every_picture_and_in_the_legend(six, pictures):
    drawn = pictures("six")
    (legend,) = drawn["curves"].legends
    shown = method_styles(six.manifest.methods)
    for (name, look), handle in zip(shown.items(), legend.get_lines(), strict=False):
        assert to_hex(str(handle.get_color())) == look.colour
        for picture in ("accuracy", "curves", "cost"):
            assert lines_of(drawn[picture].axes[0], look.colour), (picture, name)
        if name != "fsp":  # it does not apply everywhere and so has no rank
            assert lines_of(drawn["ranks"].axes[0], look.colour), name
    losses = [line for axes in drawn["losses"].axes for line in axes.lines]
    colours = {to_hex(str(line.get_color())) for line in losses}
    assert {look.colour for name, look in shown.items() if name in METHODS} <= colours


def test_axes_have_labels_with_units_and_pictures_have_legends(pictures):
    drawn = pictures("one")
    assert drawn["accuracy"].axes[0].get_xlabel() == "test top-1 on digits, last epoch (%)"
    assert drawn["curves"].axes[0].get_ylabel() == "test top-1 on digits (%)"
    assert drawn["curves"].axes[1].get_xlabel() == "epoch"
    label, machine = drawn["cost"].axes[0].get_xlabel().split("\n")
    assert label == "a training step with the teacher's pass (ms)"
    assert machine == "median over seeds, as measured on the machine of each run"
    assert drawn["cost"].axes[0].get_ylabel() == "test top-1 on digits (%)"
    left, right = drawn["fidelity"].axes
    assert left.get_xlabel() == "top-1 agreement with the teacher (%)"
    assert right.get_xlabel() == "KL(teacher ‖ student) (nats)"
    said = {name: [t.get_text() for t in drawn[name].legends[0].get_texts()] for name in drawn}
    assert said["accuracy"] == ["one seed", "mean ± std", "scratch, mean", "teacher"]
    assert said["curves"] == [*METHODS, "initialising phase", "range over seeds"]
    assert said["cost"] == ["mean ± std over seeds", "Pareto front"]
    assert said["fidelity"] == ["mean ± std over seeds"]
    assert said["losses"] == ["mean over seeds", "range over seeds", "a phase ends"]


def test_the_same_records_give_the_same_bytes(one):
    first, second = (dict(plots.files(one)) for _ in range(2))
    assert first == second
    assert not any(b"CreationDate" in content for content in first.values())


@pytest.mark.parametrize("suite", ["thirty", "table", "long_names"])
def test_no_picture_has_more_than_a_dozen_panels(suite, pictures):
    for name, figure in pictures(suite).items():
        bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
        assert len(figure.axes) - len(bars) <= 12, name


def test_several_pictures_are_numbered_and_pages_of_one_pdf(table):
    found = dict(plots.files(table))
    curves = sorted(name for name in found if "curves" in name)
    numbered = [f"small-curves-{number}.png" for number in range(1, len(curves))]
    assert len(numbered) > 1
    assert curves == [*numbered, "small-curves.pdf"]
    assert f"/Count {len(numbered)}".encode() in found["small-curves.pdf"]
    assert "small-ranks.png" in found
    assert all(plots.is_plot_of("small", name) for name in found)


@pytest.mark.parametrize(
    "name",
    ["big-cost.png", "small-cost-0.png", "small-cost.svg", "small-cost-accuracy.png", "small.png"],
)
def test_files_of_others_are_not_plots_of_a_suite(name):
    assert not plots.is_plot_of("small", name)


def test_a_picture_of_hundreds_of_rows_is_coarser_and_not_impossible():
    png = plots.encode_png(Figure(figsize=(4, 700)))  # 140,000 pixels are more than there can be
    width, length = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    assert 150 < width < 800
    assert width * length <= plots.MAX_PIXELS


def test_drawing_leaves_nothing_behind_in_matplotlib(one):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    plots.encode_pdf(curves.draw(one))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
