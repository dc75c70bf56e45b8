from dataclasses import replace
from statistics import fmean, median

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from benchmark.report import load_results
from benchmark.report.palette import NEUTRAL_STYLE, method_styles
from benchmark.report.plots import cost, differences, fidelity, losses, ranks
from benchmark.report.plots.history import LossTerm, loss_terms
from benchmark.report.plots.losses import line_styles, set_loss_axis
from benchmark.report.plots.points import MethodPoint, pareto_front
from benchmark.report.plots.style import DROP
from benchmark.report.statistics.analysis import analyse, summarise_over_pairs
from benchmark.report.statistics.significance import MethodRank, Ranking
from benchmark.report.tables.layout import format_signed, significance_mark
from tests.report.drawn import across, lines_of, markers, there, words_of
from tests.report.grids import METHODS, PAIRS, finish, finish_all, manifest

NAN = float("nan")


def test_a_point_is_the_median_cost_and_the_mean_accuracy_of_its_method(one, pictures):
    found = markers(pictures("one")["cost"].axes[0])
    for name, look in method_styles(METHODS).items():
        records = [o.record for o in one.students[0, name] if o.record]
        step = median(r.cost.step_seconds + (r.cost.teacher_seconds or 0) for r in records)
        at = (1000 * step, fmean(r.result.top1 for r in records))
        here = [shown for place, shown in found.items() if np.allclose(place, at)]
        assert here == [(*look, False)], name


def test_one_slow_seed_does_not_make_a_method_expensive(one):
    slow = []
    for outcome, seconds in zip(one.students[0, "kd"], (0.01, 0.9, 0.02), strict=True):
        record = there(outcome.record)
        size = replace(record.cost, step_seconds=seconds, teacher_seconds=None)
        slow.append(replace(outcome, record=replace(record, cost=size)))
    students = one.students | {(0, "kd"): tuple(slow)}
    found = markers(next(cost.draw(replace(one, students=students))).axes[0])
    assert [
        x for (x, _), (colour, *_) in found.items() if colour == method_styles(METHODS)["kd"].colour
    ] == [20.0]


def test_without_the_time_of_each_step_cost_is_the_time_of_the_run(one):
    outcomes = one.students[0, "kd"]
    record = outcomes[0].record
    old = replace(record, cost=replace(record.cost, step_seconds=None))
    students = one.students | {(0, "kd"): (replace(outcomes[0], record=old), *outcomes[1:])}
    axes = next(cost.draw(replace(one, students=students))).axes[0]
    assert axes.get_xlabel().startswith("training time, a run's share (min)")
    assert record.cost.seconds / 60 in {x for x, _ in markers(axes)}


def test_over_many_pairs_cost_and_accuracy_are_relative_to_scratch(table, pictures):
    axes = pictures("table")["cost"].axes[0]
    assert "times that of scratch" in axes.get_xlabel()
    assert axes.get_ylabel() == "mean gain over scratch\nover 7 pairs (percentage points)"
    found = markers(axes)
    assert (1.0, 0.0) in found
    gains = [
        fmean(o.record.result.top1 for o in table.students[column, "kd"])
        - fmean(o.record.result.top1 for o in table.students[column, "scratch"])
        for column in range(7)
    ]
    assert any(y == pytest.approx(fmean(gains)) for _, y in found)


def test_what_lacks_seeds_is_hollow(pictures):
    found = markers(pictures("six")["cost"].axes[1])  # of kd one seed is missing there
    assert {look for look in found.values() if look[2]} == {(*method_styles(METHODS)["kd"], True)}
    assert "not all seeds done" in words_of(pictures("six")["cost"])


def test_what_is_far_below_stands_at_the_edge_with_its_number(pictures):
    axes = pictures("eleven")["cost"].axes[0]
    assert "at untaught ▾ 43.7" in [text.get_text() for text in axes.texts]
    low, _ = axes.get_ylim()
    assert low > 90
    assert [y for (_, y), (_, shape, _) in markers(axes).items() if y == low and shape == "v"]


def test_the_front_is_what_no_other_beats_at_its_cost():
    places = {"a": (1, 70), "b": (2, 69), "c": (2, 72), "d": (3, 72), "e": (4, 75), "f": (1, 69)}
    spots = [MethodPoint(name, NEUTRAL_STYLE, *at, NAN, NAN, True) for name, at in places.items()]
    assert [spot.name for spot in pareto_front(spots)] == ["a", "c", "e"]


@pytest.mark.parametrize("suite", ["one", "six", "eleven", "table"])
def test_no_name_hides_a_point(suite, pictures):
    for picture in ("cost", "fidelity"):
        for axes in pictures(suite)[picture].axes:
            points = axes.transData.transform(list(markers(axes)))
            assert len(axes.texts) >= len(points)
            for text in axes.texts:
                box = text.get_window_extent()
                assert not any(box.contains(*point) for point in points), text


def test_fidelity_has_a_panel_for_agreement_and_one_for_kl(one, pictures):
    for axes, of in zip(pictures("one")["fidelity"].axes, ("agreement", "kl"), strict=True):
        found = markers(axes)
        for name, look in method_styles(METHODS).items():
            known = [getattr(o.fidelity, of) for o in one.students[0, name] if o.fidelity]
            drawn = [x for (x, _), (colour, *_) in found.items() if colour == look.colour]
            expected = [fmean(known)] if known else []
            assert drawn == pytest.approx(expected), name


@pytest.mark.parametrize("suite", ["one", "six", "thirty", "table"])
def test_both_fidelity_panels_of_a_pair_have_the_same_y_axis(suite, pictures):
    axes = pictures(suite)["fidelity"].axes
    for agreement, kl in zip(axes[::2], axes[1::2], strict=True):
        assert agreement.get_ylim() == kl.get_ylim()
        assert agreement.get_yticks().tolist() == kl.get_yticks().tolist()


def test_both_fidelity_panels_share_the_y_axis_if_one_quantity_is_unknown(one):
    outcomes = one.students[0, "kd"]
    only = tuple(replace(o, fidelity=replace(o.fidelity, kl=None)) for o in outcomes)
    left, right = next(fidelity.draw(replace(one, students=one.students | {(0, "kd"): only}))).axes
    assert left.get_ylim() == right.get_ylim()


def test_a_network_whose_probabilities_are_not_known_is_in_the_first_panel_only(one):
    outcomes = one.students[0, "kd"]
    known = outcomes[0].fidelity
    only = tuple(replace(o, fidelity=replace(known, kl=None)) for o in outcomes)
    students = one.students | {(0, "kd"): only}
    left, right = next(fidelity.draw(replace(one, students=students))).axes
    assert len(markers(left)) == len(markers(right)) + 1


def test_bars_join_the_largest_groups_within_the_critical_difference():
    assert ranks.rank_groups([1, 1.5, 2, 4, 6], 2.1) == [(0, 2), (2, 3), (3, 4)]
    assert ranks.rank_groups([1, 2, 3], 2.0) == [(0, 1), (1, 2)]  # a difference as large is one
    assert ranks.rank_groups([1, 5, 9], 2) == []


def test_a_ranks_picture_names_every_method_in_order_with_its_rank(six, pictures):
    ranking = there(there(summarise_over_pairs(six, analyse(six))).ranking)
    words = words_of(pictures("six")["ranks"])
    order = sorted(ranking.standings, key=lambda standing: standing.rank)
    said = [words[words.index(name) - 1] for name in (s.name for s in order) if name in words]
    assert said == [f"{s.rank:.2f}" for s in order if s.name in words]
    named = [word for word in words if word in six.manifest.methods]
    assert named == [s.name for s in order if s.name in words]
    assert len(named) == len(order) - 1  # one name is too long
    note = " ".join(" ".join(words).split())
    assert "Ranks over the 4 pairs" in note
    assert "Not ranked, as not applicable everywhere: fsp." in note
    assert f"critical difference {ranking.critical:.2f}" in note


def test_each_method_stands_on_the_axis_at_its_rank(six):
    ranking = Ranking(
        5, (MethodRank("kd", 1.0), MethodRank("at", 2.0), MethodRank("ab", 3.0)), 9, 0.01, 1.5, ()
    )
    summary = replace(there(summarise_over_pairs(six, analyse(six))), ranking=ranking, unranked=())
    axes = next(ranks.draw(six, summary)).axes[0]
    shown = method_styles(six.manifest.methods)
    places = [across(lines_of(axes, shown[name].colour)[0])[0] for name in ("kd", "at", "ab")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert places == sorted(places)


def test_without_a_critical_difference_there_is_no_ranks_picture(one, six):
    assert list(ranks.draw(one, summarise_over_pairs(one, analyse(one)))) == []
    summary = there(summarise_over_pairs(six, analyse(six)))
    assert list(ranks.draw(six, replace(summary, ranking=None))) == []
    untested = replace(there(summary.ranking), critical=None)
    assert list(ranks.draw(six, replace(summary, ranking=untested))) == []


@pytest.mark.parametrize("reference", ["scratch", "kd"])
def test_a_cell_has_the_number_and_the_mark_of_the_table(six, pictures, reference):
    analysis = analyse(six)
    words = words_of(pictures("six")[f"over-{reference}"])
    for (column, name, other), (ours, theirs) in analysis.pairs.items():
        if other == reference and len(ours) == 3:
            mark = significance_mark(
                analysis.tests[column, name, other], analysis.references.index(other)
            )
            assert f"{format_signed(fmean(ours) - fmean(theirs))}{mark}" in words
    assert "–" in words
    assert "0/3" in words
    assert "2/3" in words
    assert f"difference to {reference} (percentage points)" in words
    assert any(word.startswith("Means over 3 seeds, paired by seed") for word in words)


def test_zero_is_white_above_is_blue_and_below_is_red(tmp_path):
    grid = manifest(["scratch", "kd", "at", "ab"], PAIRS[:2], seeds=[0])
    finish_all(tmp_path, grid)
    for name, top1 in (("scratch", 90), ("kd", 91), ("at", 89), ("ab", 90)):
        for column in range(2):
            finish(tmp_path, f"{column}-{name}-s0", top1, epochs=1)
    results = load_results(grid, tmp_path)
    figure = next(differences.draw(results, analyse(results), "scratch"))
    colours = [np.asarray(drawn.get_facecolor()) for drawn in figure.axes[0].collections]
    (cells,) = [found for found in colours if len(found) == 9]
    kd, at, ab = (cells[row][:3] for row in (0, 3, 6))
    assert kd[2] > kd[0] + 0.3
    assert at[0] > at[2] + 0.3
    assert min(ab) > 0.95


def test_terms_are_apart_by_phase_and_seeds_give_mean_and_range(tmp_path):
    for seed in (0, 1):
        finish(tmp_path, f"0-fsp-s{seed}", 90, "fsp", epochs=8)
    results = load_results(manifest(["fsp"], epochs=8), tmp_path)
    (first, second, *_) = results.students[0, "fsp"]
    history = [
        replace(epoch, losses={name: 3 * value for name, value in epoch.losses.items()})
        for epoch in there(second.record).history
    ]
    second = replace(second, record=replace(there(second.record), history=tuple(history)))
    found = loss_terms((first, second))
    assert list(found) == [("fsp", "fsp"), ("ce", "distill"), ("fsp", "distill")]
    assert found["fsp", "fsp"] == LossTerm([1, 2], [8, 4], [4, 2], [12, 6])
    assert found["ce", "distill"].epochs == [3, 4, 5, 6, 7, 8]


def test_an_axis_of_losses_is_logarithmic_where_that_can_be_and_helps():
    def axis(*values: float) -> Axes:
        axes = Figure().subplots()
        term = LossTerm([1], list(values), list(values), list(values))
        set_loss_axis(axes, [term])
        return axes

    def ticks(axes: Axes) -> list[float]:
        low, high = axes.get_ylim()
        return [tick for tick in axes.get_yticks() if low <= tick <= high]

    assert axis(0.01, 5).get_yscale() == "log"
    assert axis(0, 0.01, 5).get_yscale() == "log"  # a term that is warmed up begins at nothing
    assert axis(-1, 0.01, 5).get_yscale() == "linear"
    assert axis(4, 5).get_yscale() == "linear"
    assert axis(0, 0).get_yscale() == "linear"
    assert ticks(axis(0.003, 30)) == pytest.approx([0.01, 0.1, 1, 10])
    assert len(ticks(axis(2, 9))) >= 2
    assert axis(1e-30, 1).get_ylim()[0] > 1e-5  # what is nearly nothing does not squash the rest


def test_losses_show_phases_and_drops_and_say_what_each_line_is(tmp_path):
    finish(tmp_path, "0-kd-s0", 90, "kd", drops=(10,))
    finish(tmp_path, "0-fsp-s0", 90, "fsp", drops=(10,))
    figure = next(losses.draw(load_results(manifest(["kd", "fsp", "at"]), tmp_path)))
    words = words_of(figure)
    legends = [there(axes.get_legend()) for axes in figure.axes]
    terms = {
        legend.get_title().get_text(): [text.get_text() for text in legend.get_texts()]
        for legend in legends
    }
    assert terms == {"kd": ["kd", "ce"], "fsp": ["fsp", "ce"], "at": []}
    for said in (
        "0/3 seeds done",
        "a phase ends",
        "learning rate drops",
        "loss terms, as weighted",
    ):
        assert said in words
    kd, fsp, _ = figure.axes
    ends = [across(line) for line in lines_of(fsp, to_hex(losses.PHASE_END["color"]))]
    assert ends == [[5.5, 5.5]]
    assert not lines_of(kd, to_hex(losses.PHASE_END["color"]))
    for axes in (kd, fsp):
        assert [across(line) for line in lines_of(axes, to_hex(DROP["color"]))] == [[10, 10]]


def test_a_loss_of_a_single_epoch_is_a_marker(tmp_path):
    finish(tmp_path, "0-fsp-s0", 90, "fsp", epochs=4)  # its first phase has one epoch
    finish(tmp_path, "0-kd-s0", 90, "kd", epochs=1)
    figure = next(losses.draw(load_results(manifest(["kd", "fsp"], seeds=[0]), tmp_path)))
    drawn = {
        len(across(line)): line.get_marker() for line in figure.axes[1].lines if line.get_color()
    }
    assert drawn[1] == "o"
    assert drawn[3] == "None"
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", "o"]


def test_a_term_named_after_a_known_method_has_its_colour():
    lines = line_styles(["ce", "semckd", "kd", "at"], NEUTRAL_STYLE)
    known = method_styles(METHODS)
    assert [lines[name]["color"] for name in ("ce", "kd", "at")] == [
        known[name].colour for name in ("scratch", "kd", "at")
    ]
    assert lines["semckd"]["color"] == NEUTRAL_STYLE.colour
    assert len({str(line["linestyle"]) for name, line in lines.items() if name != "ce"}) == 3
