"""The page of `report --html`: its content, and when it is written."""

import functools
import io
import json
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.follow import REFRESH_SECONDS, keep_report_updated
from benchmark.cli.main import main
from benchmark.config.document import load_document
from benchmark.config.validation import short_digest
from benchmark.report import ReportData, page
from benchmark.report.page import thinning
from benchmark.report.page.html import script_safe_json
from benchmark.report.palette import method_styles
from benchmark.store.environment import source_digest
from benchmark.store.folder import RunFolder, Store
from benchmark.suite.manifest import save_manifest
from benchmark.suite.suite import Suite
from tests.cli.command import SUITE
from tests.config.example_runs import TEACHER, by_id, student
from tests.report.grids import METHODS, fail, finish, manifest, put, record
from tests.report.pages import DIGITS, HOSTILE, HOSTILES, content_of, grid_of


def test_a_page_holds_the_tables_numbers_and_every_run(tmp_path):
    path = page.write(ReportData(grid_of(tmp_path / "runs"), tmp_path / "runs", tmp_path))
    assert path == tmp_path / "tables" / "small.html"
    content = content_of(path)
    assert [row["name"] for row in content["rows"]] == ["teacher", *METHODS, HOSTILE]
    at = content["rows"][4]["cells"][0]
    assert (at["n"], at["best"]) == (1, False)
    states = [content["runs"][place]["state"] for place in at["runs"]]
    assert states == ["done", "failed", "missing"]
    fitnets = content["rows"][3]["cells"][1]
    runs = [content["runs"][place] for place in fitnets["runs"]]
    assert [run["seed"] for run in runs] == [0, 1, 2]
    top1 = [json.loads((tmp_path / "runs" / run["id"] / "record.json").read_text()) for run in runs]
    assert [run["result"]["top1"] for run in runs] == [one["result"]["top1"] for one in top1]
    assert content["pool"][runs[0]["axis"]]["phases"] == [["hint", 5], ["distill", 20]]
    assert content["looks"]["kd"][0] == method_styles(METHODS)["kd"].colour


def test_written_again_a_page_has_the_same_bytes(tmp_path):
    grid = grid_of(tmp_path / "runs")
    first = page.write(ReportData(grid, tmp_path / "runs", tmp_path)).read_bytes()
    assert page.write(ReportData(grid, tmp_path / "runs", tmp_path)).read_bytes() == first


def test_a_damaged_record_costs_its_own_run_and_the_page_says_why(tmp_path):
    grid = grid_of(tmp_path / "runs")
    before = content_of(page.write(ReportData(grid, tmp_path / "runs", tmp_path)))["runs"]
    (tmp_path / "runs" / "0-kd-s0" / "record.json").write_text("{")
    (tmp_path / "runs" / "0-kd-s0" / "failure.json").write_text("[]")
    after = content_of(page.write(ReportData(grid, tmp_path / "runs", tmp_path)))["runs"]
    changed = [new for old, new in zip(before, after, strict=True) if old["state"] != new["state"]]
    [run] = changed
    assert (run["id"], run["state"]) == ("0-kd-s0", "failed")
    assert "record.json: is damaged" in run["why"]


@pytest.mark.parametrize("text", [*HOSTILES, "\ud800"])
def test_no_text_ends_the_script_element_and_all_texts_are_read_back(text):
    shown = script_safe_json({"a": text})
    assert not re.search("[<>&\u2028\u2029]", shown)
    assert json.loads(shown) == {"a": text}
    shown.encode()


def test_a_missing_run_has_the_reason_why(tmp_path):
    grid = manifest(["kd"], seeds=[0, 1])
    grid["runs"] = {"0-kd-s0": DIGITS | {"teacher": "0-teacher"}}
    (tmp_path / "0-kd-s1").mkdir()
    RunFolder(tmp_path / "0-kd-s1").checkpoint.touch()
    content = content_of(page.write(ReportData(grid, tmp_path, tmp_path / "results")))
    waits = "waits for 0-teacher, which is not done yet"
    stopped = "interrupted; it will continue from its checkpoint"
    assert [run["why"] for run in content["runs"]] == ["not started", waits, stopped]
    fail(tmp_path, "0-teacher", "broke")
    content = content_of(page.write(ReportData(grid, tmp_path, tmp_path / "results")))
    assert content["runs"][1]["why"] == "waits for 0-teacher, which has failed"


def test_an_imported_teacher_without_a_history_has_a_page(tmp_path):
    put(tmp_path, "0-teacher", "record.json", record("0-teacher", 90.0, []))
    content = content_of(page.write(ReportData(manifest(["kd"]), tmp_path, tmp_path / "results")))
    assert (content["runs"][0]["state"], content["runs"][0]["best"]) == ("done", None)


def test_a_thinned_history_keeps_the_first_and_last_epoch_of_each_phase():
    early = {"phase": "hint", "lr": 0.1, "losses": {"hint": 1.23456}}
    unknown = {"phase": "distill", "lr": 0.1, "losses": {"kd": float("nan")}}
    late = unknown | {"losses": {"kd": 2e-7}}
    parts = [early] * 61 + [unknown] + [late] * 88 + [late | {"lr": 0.01}] * 90
    history = [part | {"epoch": e, "top1": e / 3} for e, part in enumerate(parts, start=1)]
    places = thinning.thinned_indices(history, 60)
    axis = thinning.epoch_axis(history, places)
    assert {1, 61, 62, 240} <= {*axis["epochs"]}
    assert len(places) <= 62
    assert (axis["phases"], axis["drops"]) == ([["hint", 61], ["distill", 240]], [150])
    assert thinning.top1_hundredths(history, places)[-1] == 8000
    found = thinning.thinned_losses(history, places)
    assert found["hint"] == [0, [1.23] * axis["epochs"].index(62)]
    assert found["kd"][0] == axis["epochs"].index(62) + 1
    assert {*found["kd"][1]} == {2e-07}


def test_a_thousand_runs_are_less_than_three_megabytes_and_twenty_seconds(tmp_path):
    grid = manifest([*METHODS, "new", "newer"], [(f"t{i}", "s") for i in range(42)], epochs=240)
    losses = [{"ce": 0.123456789 / e, "kd": 9.87654321 / e, "at": 1e-5 * e} for e in range(1, 241)]
    finish(tmp_path, "0-teacher", 93.0, epochs=240)
    whole = json.loads((tmp_path / "0-teacher" / "record.json").read_text())
    whole["history"] = [
        entry | {"losses": terms, "top1": 90.123456789 - 70 / entry["epoch"]}
        for entry, terms in zip(whole["history"], losses, strict=True)
    ]
    runs = [cell["run"] for cell in grid["cells"]] + [c["teacher_run"] for c in grid["columns"]]
    assert len(runs) == 1050
    for place, run in enumerate(runs):
        config = {"seed": place, "method": {"name": run, "config": {"beta": place}}}
        put(tmp_path, run, "record.json", whole | {"id": run, "config": config})
    began = time.process_time()
    path = page.write(ReportData(grid, tmp_path, tmp_path / "results"))
    assert path.stat().st_size < 3_000_000
    assert time.process_time() - began < 20


# ---------------------------------------------------------------- the command


@pytest.fixture
def planned(tmp_path: Path) -> Suite:
    """A suite of one teacher and one student, planned, with the teacher done."""
    (tmp_path / "small.yaml").write_text(SUITE)
    [kd] = by_id(student("kd", 0))
    grid = manifest(["kd"], seeds=[0], suite="small", local=False, plugins=[])
    grid["digest"] = short_digest(load_document(tmp_path / "small.yaml").data)
    grid["code"] = source_digest(plugins=[])
    grid["columns"][0]["teacher_run"] = TEACHER.id
    grid["cells"][0]["run"] = kd
    grid["runs"] = {run.id: run.as_json() for run in (TEACHER, student("kd", 0))}
    save_manifest(tmp_path, grid)
    finish(tmp_path / "runs", TEACHER.id, 97.0, "scratch", config=TEACHER.as_json())
    return Suite("small", grid, Store(tmp_path), tmp_path)


def report(planned: Suite, *flags: str) -> int:
    suite = planned.results / "small.yaml"
    return main(["report", str(suite), "--results", str(planned.results), *flags])


def test_the_command_writes_the_page_if_asked_to_and_prints_its_path(planned, capsys):
    assert report(planned) == 0
    assert not (planned.results / "tables" / "small.html").exists()
    assert report(planned, "--html") == 0
    assert "tables/small.html" in capsys.readouterr().out
    assert content_of(planned.results / "tables" / "small.html")["refresh"] is None


def test_watching_follows_a_grid_to_its_end(planned):
    path, console = planned.results / "tables" / "small.html", Console(file=io.StringIO())
    also = [functools.partial(page.write, refresh=REFRESH_SECONDS)]
    watch = threading.Thread(
        target=keep_report_updated, args=(planned, also, console, 0.02), daemon=True
    )
    watch.start()
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    content = content_of(path)
    assert content["refresh"] == REFRESH_SECONDS
    assert [run["state"] for run in content["runs"]] == ["done", "missing"]
    config = student("kd", 0).as_json()
    finish(planned.results / "runs", planned.manifest["cells"][0]["run"], 92.0, config=config)
    watch.join(60)
    assert not watch.is_alive()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition("  ")[2] for line in lines] == ["small: 1 done, 1 ready"]


def test_an_interrupted_watch_leaves_a_page_that_does_not_reload(planned, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.cli.follow.time.sleep", interrupt)
    assert report(planned, "--html", "--watch") == 130
    assert content_of(planned.results / "tables" / "small.html")["refresh"] is None
