"""Fidelity, calibration and cost, from records and predictions to tables and files."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.report import Results, load_results, render_tables, tabulate
from benchmark.report.results.agreement import compare_predictions, read_predictions
from benchmark.report.tables.all_tables import layout_all_tables
from benchmark.report.tables.layout import TableLayout
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.folder import RunFolder
from tests.report.grids import PAIRS, finish, finish_all, manifest, put

LABELS = [0, 1, 2, 3, 4, 5, 6, 7]


def finished_results(runs: Path, pairs: int = 1, **changes: Any) -> Results:
    grid = manifest(["scratch", "kd"], PAIRS[:pairs], **changes)
    finish_all(runs, grid)
    return load_results(grid, runs)


def layouts_by_name(results: Results) -> dict[str, TableLayout]:
    return {layout.name: layout for layout in layout_all_tables(tabulate(results))}


def rows_of(layout: TableLayout) -> dict[str, list[str]]:
    lines = [[entry.text for entry in line] for block in layout.grid.blocks for line in block]
    return {line[0]: line[1:] for line in lines}


def predict(runs: Path, run: str, classes: list[int], labels: list[int] = LABELS) -> Path:
    (runs / run).mkdir(exist_ok=True)
    np.save(runs / run / "predictions.npy", np.array([classes, labels], dtype=np.uint16))
    return runs / run


def change(runs: Path, run: str, part: str, **values: Any) -> None:
    """Change the record of a run that is done."""
    record = json.loads((runs / run / "record.json").read_text())
    record[part] |= values
    put(runs, run, "record.json", record)


def test_fidelity_has_agreement_kl_and_the_cka_of_the_embedding(tmp_path):
    found = layouts_by_name(finished_results(tmp_path))["fidelity"]
    assert [head[-1] for head in found.grid.heads[2:]] == [
        *("agreement (%)", "errors (%)", "KL (nats)", "CKA")
    ]
    assert rows_of(found)["kd"][1:] == ["82.0", "32.0", "0.380", "0.550"]


def test_a_student_without_a_teacher_is_compared_with_its_columns_teacher(tmp_path):
    grid = manifest(["scratch", "kd"], PAIRS[1:3], seeds=[0])
    grid["cells"][2]["run"] = "0-scratch-s0"  # one student alone, in two columns
    finish_all(tmp_path, grid)
    predict(tmp_path, "0-scratch-s0", [0, 1, 2, 0, 0, 0, 7, 7])
    predict(tmp_path, "0-teacher", [0, 1, 2, 3, 0, 0, 0, 0])
    predict(tmp_path, "1-teacher", LABELS)
    found = rows_of(layouts_by_name(load_results(grid, tmp_path))["fidelity"])
    assert found["scratch"][1:5] == ["62.5", "50.0", "", ""]  # 5 of 8; of its 4 errors, 2
    assert found["scratch"][6:] == ["50.0", "", "", ""]  # a teacher without errors


@pytest.mark.parametrize("labels", [LABELS[:7], LABELS[::-1]])
def test_predictions_of_other_images_are_not_compared(tmp_path, labels):
    ours = predict(tmp_path, "a", labels, labels)
    assert compare_predictions(ours, predict(tmp_path, "b", LABELS)) is None
    assert compare_predictions(ours, tmp_path / "none") is None


@pytest.mark.parametrize("content", [np.zeros(3), np.zeros((2, 0), int), np.array([["a"], ["b"]])])
def test_a_damaged_file_of_predictions_is_named_and_not_compared(tmp_path, content, capsys):
    np.save(tmp_path / "predictions.npy", content)
    with pytest.raises(DamagedFileError, match=r"predictions\.npy: damaged: "):
        read_predictions(RunFolder(tmp_path))
    (tmp_path / "predictions.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DamagedFileError, match=r"predictions\.npy: damaged: "):
        read_predictions(RunFolder(tmp_path))
    assert compare_predictions(tmp_path, tmp_path) is None
    [warning] = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {tmp_path}/predictions.npy: damaged: ")


def test_predictions_that_were_copied_from_another_run_are_not_compared(tmp_path, capsys):
    grid = manifest(["scratch"], seeds=[0])
    finish_all(tmp_path, grid)
    ours = predict(tmp_path, "0-scratch-s0", [0, 1, 2, 0, 0, 0, 7, 7])
    teacher = predict(tmp_path, "0-teacher", LABELS)
    path = tmp_path / "0-scratch-s0" / "record.json"
    content = json.loads(path.read_text())
    seal = hashlib.sha256((ours / "predictions.npy").read_bytes()).hexdigest()
    path.write_text(json.dumps(content | {"predictions": {"sha256": seal}}))
    assert compare_predictions(ours, teacher) is not None
    predict(tmp_path, "0-scratch-s0", LABELS)  # the teacher's, which would agree in all images
    assert compare_predictions(ours, teacher) is None
    assert "is not the file that the run's record describes" in capsys.readouterr().err


def test_calibration_has_the_teacher_and_numbers_before_and_after_scaling(tmp_path):
    found = layouts_by_name(finished_results(tmp_path))["calibration"]
    assert found.teacher_blocks == 1
    assert rows_of(found)["teacher"] == [
        *("95.20", "4.48", "0.348", "0.110", "1.40", "1.10", "0.248", "0.101")
    ]


def test_cost_separates_the_students_step_from_the_teachers_pass(tmp_path):
    found = layouts_by_name(finished_results(tmp_path))["cost"]
    heads = [" ".join(filter(None, head[2:])) for head in found.grid.heads[1:]]
    kd = dict(zip(heads, rows_of(found)["kd"], strict=True))
    assert (kd["own step (ms)"], kd["teacher's pass (ms)"]) == ("24.0", "30.0")
    assert (kd["MFLOPs"], kd["connectors' parameters"], kd["connectors' MFLOPs"]) == (
        *("82.0", "0", "1.0"),
    )
    assert rows_of(found)["scratch"][3] == ""


def test_a_quantity_that_no_record_has_gets_no_column(tmp_path):
    before = layouts_by_name(finished_results(tmp_path))["cost"].grid
    change(tmp_path, "0-kd-s1", "cost", energy_joules=5400.0)
    after = layouts_by_name(load_results(manifest(["scratch", "kd"], PAIRS[:1]), tmp_path))["cost"]
    assert [head[-1] for head in after.grid.heads[len(before.heads) :]] == ["kJ"]
    assert [line[-1] for line in rows_of(after).values()] == ["", "5.4"]


def test_a_mean_over_some_of_the_seeds_has_their_number(tmp_path):
    grid = manifest(["kd", "at"], PAIRS[:1])
    finish(tmp_path, "0-kd-s0", 91.0)
    found = layouts_by_name(load_results(grid, tmp_path))["calibration"]
    assert rows_of(found)["kd"][:2] == ["91.00 (1/3)", "4.90"]
    assert rows_of(found)["at"] == ["0/3", *[""] * 7]


def test_records_older_than_measures_have_no_such_tables(tmp_path):
    grid = manifest(["kd"], PAIRS[:1])
    finish(tmp_path, "0-kd-s0", 91.0)
    record = json.loads((tmp_path / "0-kd-s0" / "record.json").read_text())
    del record["measures"]
    put(tmp_path, "0-kd-s0", "record.json", record)
    assert list(layouts_by_name(load_results(grid, tmp_path))) == ["", "cost"]


def test_the_csv_of_runs_has_a_line_a_run_with_all_that_is_measured(tmp_path):
    made = finished_results(tmp_path, pairs=2)
    files = render_tables(made, tabulate(made))
    runs = pd.read_csv(io.StringIO(files["small-runs.csv"]), keep_default_na=False)
    assert len(runs) == 2 * (1 + 2 * 3)
    kd = runs[runs.run == "1-kd-s2"].iloc[0]
    assert (kd.seed, kd.top5, kd.epoch, kd.state) == ("2", 99.9, 20, "done")
    assert (kd.agreement, kd.cka_stage_2, kd.gpu_hours) == ("82.0", "0.75", "")
    assert (runs.seed[0], runs.role[0], runs.best_on_test_epoch[0]) == ("", "teacher", 20)
    cells = pd.read_csv(io.StringIO(files["small.csv"]))
    mean = runs[(runs.method == "kd") & (runs.student == "resnet20")].ece.astype(float).mean()
    [shown] = cells[(cells.method == "kd") & (cells.student == "resnet20")].ece
    assert shown == pytest.approx(mean)
