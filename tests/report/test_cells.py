import json

import pytest

from benchmark.report import load_results, tabulate
from benchmark.report.tables.cells import PairedDifference, Table, TableCell
from tests.report.grids import fail, finish, finish_all, manifest, run_id


def table_of(runs, grid, **top1s) -> Table:
    """Return the table of a grid with one column; None is a run that is not done."""
    for method, values in top1s.items():
        for seed, top1 in enumerate(values):
            if top1 is not None:
                finish(runs, run_id(0, method, seed), top1, method)
    return tabulate(load_results(grid, runs))


def cells(table: Table) -> dict[str, TableCell]:
    return {row.name: row.cells[0] for row in table.rows}


def test_mean_and_sample_std_are_those_worked_out_by_hand(tmp_path):
    at = cells(table_of(tmp_path, manifest(["at"]), at=[91, 93, 95]))["at"]
    assert (at.n, at.wanted, at.mean, at.std) == (3, 3, 93.0, 2.0)


def test_one_seed_has_a_mean_and_no_std(tmp_path):
    at = cells(table_of(tmp_path, manifest(["at"]), at=[91, None, None]))["at"]
    assert (at.n, at.wanted, at.mean, at.std) == (1, 3, 91.0, None)


def test_differences_are_paired_over_the_seeds_both_have(tmp_path):
    grid = manifest(["scratch", "kd", "at", "ab"])
    table = table_of(
        tmp_path,
        grid,
        scratch=[90, 91, 92],
        kd=[92, 92.5, None],
        at=[91, 93, 95],
        ab=[None, None, 94],
    )
    assert table.references == ("scratch", "kd")
    by_name = cells(table)
    assert by_name["scratch"].deltas == (None, PairedDifference(-1.75, 2))
    assert by_name["kd"].deltas == (PairedDifference(1.75, 2), None)
    # Of the means, 93 and 92.25, the difference would be +0.75: another sign.
    assert by_name["at"].deltas == (PairedDifference(2.0, 3), PairedDifference(-0.25, 2))
    assert by_name["ab"].deltas == (PairedDifference(2.0, 1), None)


def test_a_suite_without_kd_has_no_difference_to_it(tmp_path):
    table = table_of(tmp_path, manifest(["scratch", "at"]), scratch=[90] * 3, at=[91] * 3)
    assert table.references == ("scratch",)
    assert cells(table)["at"].deltas == (PairedDifference(1.0, 3),)


def test_the_best_is_a_complete_student(tmp_path):
    grid = manifest(["scratch", "kd", "at"])
    finish(tmp_path, "0-teacher", 99.9, "scratch")
    table = table_of(tmp_path, grid, scratch=[90] * 3, kd=[99, 99, None], at=[91] * 3)
    assert [row.name for row in table.rows if row.cells[0].best] == ["at"]


def test_ties_at_the_printed_precision_are_all_best(tmp_path):
    grid = manifest(["scratch", "kd", "at"])
    table = table_of(tmp_path, grid, scratch=[93.004] * 3, kd=[93.001] * 3, at=[92.99] * 3)
    assert [row.name for row in table.rows if row.cells[0].best] == ["scratch", "kd"]


def test_nothing_done_is_a_table_without_numbers_and_without_best(tmp_path):
    table = table_of(tmp_path / "none", manifest(["scratch", "kd"]))
    for cell in cells(table).values():
        assert (cell.n, cell.mean, cell.std, cell.best) == (0, None, None, False)
    assert [cell.wanted for cell in cells(table).values()] == [1, 3, 3]


def test_the_teacher_comes_first_with_one_number_and_no_differences(tmp_path):
    finish(tmp_path, "0-teacher", 98.25, "scratch")
    teacher = table_of(tmp_path, manifest(), scratch=[90] * 3).rows[0]
    assert (teacher.role, teacher.name) == ("teacher", "teacher")
    (cell,) = teacher.cells
    assert (cell.n, cell.wanted, cell.mean, cell.deltas) == (1, 1, 98.25, (None, None))


def test_each_failure_and_reason_is_one_footnote(tmp_path):
    pairs = [("resnet56", "resnet20")] * 2
    reasons = {(0, "fsp"): "widths differ", (1, "fsp"): "widths differ"}
    grid = manifest(["kd", "ab", "fsp"], pairs, inapplicable=reasons)
    for run in ["0-ab-s0", "0-ab-s2", "1-ab-s0"]:
        fail(tmp_path, run, "loss 'boundary' is nan")
    fail(tmp_path, "1-kd-s1", "x" * 1000)
    fail(tmp_path, "0-teacher", "killed")
    table = tabulate(load_results(grid, tmp_path))
    notes = {row.name: [[table.notes[n] for n in c.notes] for c in row.cells] for row in table.rows}
    assert notes["teacher"] == [["failed: killed"], []]
    assert notes["ab"] == [
        ["seeds 0, 2 failed: loss 'boundary' is nan"],
        ["seed 0 failed: loss 'boundary' is nan"],
    ]
    assert notes["fsp"] == [["not applicable: widths differ"]] * 2
    assert len(notes["kd"][1][0]) <= 240
    assert len(table.notes) == 5
    assert [cell.applicable for cell in table.rows[-1].cells] == [False, False]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "on digits, teacher resnet56, student resnet20,"),
        ({"dataset_limit": 500}, "on digits (limited to 500 images)"),
        ({"validation": 5000}, "Validation top-1 (%) on digits, 5,000 held-out train images"),
        ({}, "after the last of 20 epochs (epochs of initialising phases included)"),
        ({"init_epochs": "extra"}, "(epochs of initialising phases on top)"),
        ({}, "sample standard deviation over 3 seeds"),
        ({"seeds": [7]}, "over 1 seed;"),
        ({}, "bold: the best mean among the complete student rows, underlined: the second."),
        ({}, "difference to scratch and to kd in percentage points, paired by seed"),
        ({"departures": ["at beta = 250", "x = 1"]}, "Not at the default: at beta = 250; x = 1."),
        ({"probes": ["stl10: what it is"]}, "the second. Column stl10: what it is. Δ:"),
        ({}, "k/3: only k of 3 seeds are done"),
    ],
)
def test_the_caption_states_how_to_read_the_numbers(tmp_path, changes, says):
    assert says in tabulate(load_results(manifest(**changes), tmp_path)).caption


def test_a_network_that_is_larger_than_the_student_is_a_footnote(tmp_path):
    grid = manifest(["scratch", "kd"])
    finish_all(tmp_path, grid)
    for seed in (0, 1, 2):
        path = tmp_path / f"0-kd-s{seed}" / "record.json"
        made = json.loads(path.read_text())
        made["cost"] |= {"parameters": 75_290, "deployed_parameters": 91_402}
        path.write_text(json.dumps(made))
    table = tabulate(load_results(grid, tmp_path))
    assert table.notes == ("deploys 91,402 parameters, the student has 75,290",)
    assert [cell.notes for row in table.rows for cell in row.cells] == [(), (), (0,)]


def test_a_suite_that_trains_no_teacher_has_no_row_for_one(tmp_path):
    grid = manifest(methods=["scratch"])
    grid["columns"][0]["teacher_run"] = None
    table = table_of(tmp_path, grid, scratch=[90] * 3)
    assert [row.name for row in table.rows] == ["scratch"]


def test_a_cell_that_is_not_applicable_is_not_counted_as_missing(tmp_path):
    grid = manifest(["scratch", "fsp"], inapplicable={(0, "fsp"): "widths differ"}, seeds=[0])
    finish(tmp_path, "0-teacher", 90, "scratch")
    assert "seeds are done" in table_of(tmp_path, grid).caption
    assert "seeds are done" not in table_of(tmp_path, grid, scratch=[70]).caption
