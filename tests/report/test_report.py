import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.config.errors import UserError
from benchmark.report import ReportData, print_tables, write_tables_and_plots
from benchmark.suite.suite import REPORT_SUFFIXES, suite_name
from tests.report.grids import finish, finish_all, manifest

KINDS = ("-fidelity", "-calibration", "-cost")
TABLES = [f"tables/small{end}.tex" for end in ("", *KINDS)]
TABLES = ["tables/small.md", *TABLES, *(f"tables/small{end}" for end in (".csv", "-runs.csv"))]
TABLES += ["tables/small.json"]


def test_tables_and_plots_are_written_and_named(tmp_path):
    grid = manifest()
    finish_all(tmp_path / "runs", grid)
    paths = write_tables_and_plots(ReportData(grid, tmp_path / "runs", tmp_path / "results"))
    names = [str(path.relative_to(tmp_path / "results")) for path in paths]
    assert names[: len(TABLES)] == TABLES
    stems = {path.stem.removeprefix("small") for path in paths}
    assert stems <= {"", *(f"-{ending}" for ending in REPORT_SUFFIXES)}
    assert {path.parent.name for path in paths[len(TABLES) :]} == {"plots"}
    assert sorted((tmp_path / "results").rglob("*.*")) == sorted(paths)
    assert all(path.stat().st_size > 500 for path in paths)


@pytest.mark.parametrize("ending", ["cost", "over-pairs", "runs"])
def test_no_suite_has_the_file_name_of_another_suites_table(ending):
    with pytest.raises(UserError, match=r"of a suite small\. Rename"):
        suite_name(Path(f"elsewhere/small-{ending}.yaml"), [])
    assert suite_name(Path(f"small{ending}.yaml"), []) == f"small{ending}"


def test_other_changes_of_a_suite_have_other_file_names_in_any_order():
    path = Path("s.yaml")
    changes = [
        ["recipe.lr=0.01"],
        ["recipe.momentum=0.01"],
        ["recipe.epochs=2"],
        ["teacher.recipe.epochs=2"],
        ["recipe.epochs=2", "recipe.lr=0.01"],
        ["title=a b"],
        ["title=a-b"],
        [f"title={'x' * 200}1"],
        [f"title={'x' * 200}2"],
        ["dataset.limit=3", "dataset=digits"],
        ["dataset=digits", "dataset.limit=3"],
        ["title=日本 %$\\ '\"`"],
    ]
    names = [suite_name(path, words) for words in changes]
    assert len({"s", *names}) == 1 + len(names)
    assert all(re.fullmatch(r"s-[A-Za-z0-9_-]{1,60}", name) for name in names)
    assert names[0].startswith("s-lr-0-01-")
    both = ["recipe.epochs=2", " recipe.lr = 0.01"]
    assert suite_name(path, both) == suite_name(path, both[::-1]) == names[4]


def test_a_suite_file_of_any_name_has_file_names_that_shells_and_latex_accept():
    names = [suite_name(Path(f"{stem}.yaml"), []) for stem in ("my suite%", "my_suite_", "-x", "é")]
    assert len({*names}) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name) for name in names)
    assert names[1] == "my_suite_"


def test_written_again_every_file_has_the_same_bytes(tmp_path):
    grid = manifest(["scratch", "ab"], seeds=[0])
    finish_all(tmp_path, grid)
    first = {
        path: path.read_bytes()
        for path in write_tables_and_plots(ReportData(grid, tmp_path, tmp_path))
    }
    assert {
        path: path.read_bytes()
        for path in write_tables_and_plots(ReportData(grid, tmp_path, tmp_path))
    } == first


def test_plots_of_an_earlier_report_of_the_suite_are_removed_and_no_other_file(tmp_path):
    grid = manifest(["scratch", "ab"], seeds=[0])
    finish_all(tmp_path / "runs", grid)
    plots = tmp_path / "plots"
    plots.mkdir()
    stale = ["small-ranks.pdf", "small-curves-7.png", "small-over-kd.png"]
    others = ["small-2-ranks.png", "big-curves-7.png", "small-notes.png", "small-cost-2.svg"]
    for name in (*stale, *others):
        (plots / name).write_text("earlier")
    written = write_tables_and_plots(ReportData(grid, tmp_path / "runs", tmp_path))
    expected = {path for path in written if path.parent == plots} | {plots / n for n in others}
    assert set(plots.iterdir()) == expected
    for path in (tmp_path / "runs").glob("0-*-s0"):
        (path / "record.json").unlink()
    write_tables_and_plots(ReportData(grid, tmp_path / "runs", tmp_path))
    assert set(plots.iterdir()) == {plots / name for name in others}


def test_without_a_finished_student_there_are_tables_and_no_plots(tmp_path):
    finish(tmp_path, "0-teacher", 97.0, "scratch")
    paths = write_tables_and_plots(ReportData(manifest(), tmp_path, tmp_path / "results"))
    assert [str(path.relative_to(tmp_path / "results")) for path in paths] == [
        name
        for name in TABLES
        if name.removesuffix(".tex").removeprefix("tables/small") not in KINDS
    ]
    assert paths[0].read_text().count("0/3") == 6


def test_damaged_records_cost_their_own_runs_and_each_is_named(tmp_path, capsys):
    grid = manifest(["scratch", "kd"], seeds=[0, 1])
    finish_all(tmp_path, grid)
    bad = [tmp_path / run / "record.json" for run in ("0-scratch-s0", "0-kd-s1", "0-teacher")]
    for path in bad:
        path.write_text('{"schema": 1')
    markdown = write_tables_and_plots(ReportData(grid, tmp_path, tmp_path))[0].read_text()
    warnings = capsys.readouterr().err.splitlines()
    assert sorted(line.split(": ")[1] for line in warnings) == sorted(map(str, bad))
    good = json.loads((tmp_path / "0-kd-s0" / "record.json").read_text())["result"]["top1"]
    assert f"{good:.2f}" in markdown
    for path in bad[:2]:
        assert f"{path}: is damaged" in markdown


def test_the_table_is_printed_from_manifest_and_records(tmp_path):
    console = Console(width=120, record=True, file=io.StringIO())
    print_tables(ReportData(manifest(), tmp_path, tmp_path), console)
    assert console.export_text().count("0/3") == 6


def test_the_report_needs_no_torch_and_imports_slow_packages_only_on_use(tmp_path):
    grid = manifest(["kd"], seeds=[0])
    finish_all(tmp_path, grid)
    (tmp_path / "manifest.json").write_text(json.dumps(grid))
    program = """
import io, json, pathlib, sys
here = pathlib.Path(sys.argv[1])
slow = {"torch", "matplotlib", "seaborn", "pandas", "rich", "scipy"}
loaded = lambda: slow & set(sys.modules)
from benchmark import report
assert not loaded(), loaded()
from rich.console import Console
grid = json.loads((here / "manifest.json").read_text())
report.print_tables(report.ReportData(grid, here, here), Console(file=io.StringIO()))
assert loaded() == {"rich"}, loaded()
paths = report.write_tables_and_plots(report.ReportData(grid, here, here))
assert any(path.suffix == ".pdf" for path in paths)
assert loaded() == {"matplotlib", "seaborn", "pandas", "rich", "scipy"}, loaded()
"""
    # No display either, and none is asked for.
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
