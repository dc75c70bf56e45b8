"""The tables besides the main one, a suite's selection of rows and columns, and the sidecar."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import methods
from benchmark.config.errors import UserError
from benchmark.report import (
    ReportData,
    Results,
    load_results,
    print_tables,
    render_tables,
    tabulate,
)
from benchmark.report.results.published import load_published
from benchmark.report.tables.all_tables import layout_all_tables
from benchmark.report.tables.layout import TableLayout, layout_main_table, split_by_width
from tests.job.in_process import grid as expanded
from tests.report.grids import METHODS, PAIRS, finish_all, manifest

SUITE = """
title: a test
dataset: {name: digits, limit: 64}
pairs: [resnet14->resnet8]
methods:
  scratch:
  kd: {alpha: 0.5, temperature: 1}
  kd of old: {method: kd}
  ab@crd:
  at+kd: {weights: {ce: 1, at: 1, kd: 1}}
  at random: {method: at, teacher: random}
seeds: [0]
recipe: {epochs: 3, batch_size: 32, lr: 0.05}
"""


def finished_results(
    tmp_path: Path,
    methods: list[str] = METHODS,
    pairs: list[tuple[str, str]] = PAIRS,
    **changes: Any,
) -> Results:
    grid = manifest(methods, pairs, **changes)
    finish_all(tmp_path, grid)
    return load_results(grid, tmp_path)


def layouts_by_name(results: Results) -> dict[str, TableLayout]:
    return {layout.name: layout for layout in layout_all_tables(tabulate(results))}


def texts(layout: TableLayout) -> list[list[str]]:
    return [[entry.text for entry in line] for block in layout.grid.blocks for line in block]


def test_one_pair_on_one_data_set_has_no_table_over_pairs_or_data_sets(tmp_path):
    found = layouts_by_name(finished_results(tmp_path, pairs=PAIRS[:1]))
    assert list(found) == ["", "fidelity", "calibration", "cost"]


def test_over_pairs_every_method_has_ranks_gap_and_how_often_it_is_not_above_scratch(tmp_path):
    found = layouts_by_name(finished_results(tmp_path))["over-pairs"]
    rows = {row[0]: row[1:] for row in texts(found)}
    assert list(rows) == METHODS
    assert rows["kd"][0] == "6"
    assert rows["kd"][1].startswith("+1.")
    assert rows["kd"][2] == "0/6"
    assert rows["kd"][3] == "1.00"
    assert "Friedman: chi-squared" in found.caption
    assert rows["scratch"][2:] == ["", rows["scratch"][3], "", ""]


def test_a_mean_by_data_set_states_how_many_pairs_it_is_over(tmp_path):
    grid = manifest(["scratch", "kd"], PAIRS[:3], seeds=[0])
    grid["columns"][2]["dataset"] = "stl10"
    finish_all(tmp_path, grid)
    (tmp_path / "1-kd-s0" / "record.json").unlink()
    found = layouts_by_name(load_results(grid, tmp_path))["data-sets"]
    assert [head[0] for head in found.grid.heads] == [
        "method",
        "digits",
        "Δ scratch",
        "stl10",
        "Δ scratch",
    ]
    kd = texts(found)[2]
    assert "(1 of 2)" in kd[1]
    assert "of" not in kd[3]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_on_a_terminal_is_wrapped_or_cut_with_many_columns(tmp_path, width):
    results = finished_results(tmp_path, ["scratch", "kd", "at"], PAIRS * 2, epochs=2)
    console = Console(width=width, record=True, file=io.StringIO())
    print_tables(
        ReportData(manifest(["scratch", "kd", "at"], PAIRS * 2, epochs=2), tmp_path, tmp_path),
        console,
    )
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    drawn = [line.split()[1] for line in lines if line.startswith("│ ")]
    assert set(drawn) <= {"teacher", "student", "scratch", "kd", "at", "Δ"}  # no cell goes on
    for row in tabulate(results).rows:
        for cell in row.cells:
            assert f"{cell.mean:.2f}" in text


def test_the_parts_of_a_split_table_have_each_column_once_and_all_repeat_the_first(tmp_path):
    layout = layout_main_table(tabulate(finished_results(tmp_path)))
    parts = list(split_by_width(layout, 60))
    assert len(parts) > 1
    assert {part.heads[0] for part in parts} == {layout.grid.heads[0]}
    assert tuple(head for part in parts for head in part.heads[1:]) == layout.grid.heads[1:]


def test_a_suite_selects_orders_and_names_rows_and_columns(tmp_path):
    pairs = [" -> ".join(pair) for pair in PAIRS[:3]]
    choice = {"rows": {"kd": "KD", "scratch": "Student"}, "pairs": {pairs[2]: "R", pairs[0]: "S"}}
    table = tabulate(finished_results(tmp_path, pairs=PAIRS[:3], table=choice))
    found = layout_main_table(table)
    assert [row[0] for row in texts(found)] == [
        "teacher",
        "KD",
        "Δ scratch / Δ kd",
        "Student",
        "Δ scratch / Δ kd",
    ]
    assert [head[0] for head in found.grid.heads] == ["teacher", "R", "S"]
    assert table.column_indices == (2, 0)
    assert [row.name for row in table.students] == ["kd", "scratch"]


def test_rows_that_a_table_leaves_out_still_count_in_the_correction(tmp_path):
    every = tabulate(finished_results(tmp_path, pairs=PAIRS[:1]))
    few = tabulate(finished_results(tmp_path, pairs=PAIRS[:1], table={"rows": ["kd"]}))
    kd = next(row for row in every.rows if row.name == "kd")
    assert few.students[0].cells[0].tests == kd.cells[0].tests
    said = re.search(r"the suite's \d+ comparisons", every.caption)
    assert said is not None
    assert said[0] in few.caption


def test_only_rows_in_the_table_are_marked_as_best(tmp_path):
    table = tabulate(finished_results(tmp_path, pairs=PAIRS[:1], table={"rows": ["ab", "at"]}))
    assert [(row.cells[0].best, row.cells[0].second) for row in table.students] == [
        (True, False),
        (False, True),
    ]


def test_selecting_a_row_that_does_not_exist_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"table\.rows: no such name\. Did you mean 'kd'\?"):
        tabulate(load_results(manifest(table={"rows": ["kdd"]}), tmp_path))


def test_planning_a_suite_that_selects_a_missing_row_names_the_setting(tmp_path):
    with pytest.raises(UserError, match=r"table\.rows +no such name\. Did you mean 'kd'\?"):
        expanded(tmp_path, SUITE + "table: {rows: [kdd]}\n")


def test_a_manifest_has_the_published_name_of_every_row(tmp_path):
    made = expanded(tmp_path, SUITE + "table: {rows: {kd: KD}}\n").manifest("code")
    assert made["as_published"] == {
        "scratch": "scratch",
        "kd": "kd; alpha = 0.5; temperature = 1",
        "kd of old": "kd",
        "ab@crd": "ab@crd",
        "at+kd": "at+kd",
        "at random": "",
    }
    assert [row.name for row in tabulate(load_results(made, tmp_path)).students] == ["kd"]


def test_published_methods_are_named_as_the_registry_names_them():
    foreign = {value.method for value in load_published().values}
    for name in list(foreign):
        try:
            spec = methods.parse(name.partition(";")[0])
        except methods.UnknownMethod:
            continue
        assert spec.name == name.partition(";")[0]  # else a preset of the default values
        foreign.remove(name)
    named = {name for name in foreign if not re.search(" (of|with) ", name)}
    assert named == {"sskd", "hsakd"}


def test_the_sidecar_names_every_run_behind_every_cell_and_every_file(tmp_path):
    results = finished_results(tmp_path, pairs=PAIRS[:2])
    files = render_tables(results, tabulate(results))
    sidecar = json.loads(files["small.json"])
    assert [*sidecar["tables"], "small.json"] == list(files)
    named = {run["run"] for cell in sidecar["cells"] for run in cell["runs"]}
    grid = results.manifest
    assert named == {cell.run for cell in grid.cells} | {c.teacher_run for c in grid.columns}
    kd = next(cell for cell in sidecar["cells"] if cell["row"] == "kd")
    assert [run["seed"] for run in kd["runs"]] == [0, 1, 2]
    assert kd["mean"] == pytest.approx(sum(run["top1"] for run in kd["runs"]) / 3)
    assert kd["differences"]["scratch"]["holm"] >= kd["differences"]["scratch"]["p"]
    assert kd["measured"]["agreement"] == {"mean": 82.0, "n": 3}
