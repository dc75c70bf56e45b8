"""The page that `report --html` writes: what is in the file, and when it is written."""

import functools
import io
import json
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.follow import EVERY, follow
from benchmark.cli.main import main
from benchmark.config.document import load
from benchmark.config.errors import UserError
from benchmark.config.validation import digest
from benchmark.report import Material, page
from benchmark.report.page import thinning
from benchmark.report.page.html import embedded
from benchmark.report.palette import method_styles
from benchmark.store.environment import source_digest
from benchmark.store.folder import RunFolder, Store
from benchmark.suite.manifest import write_manifest
from benchmark.suite.suite import Planned
from tests.cli.command import SUITE
from tests.config.example_runs import TEACHER, by_id, student
from tests.report.grids import METHODS, fail, finish, manifest, put, record
from tests.report.pages import DIGITS, HOSTILE, HOSTILES, content_of, grid_of


def test_a_page_holds_the_tables_numbers_and_every_run(tmp_path):
    path = page.write(Material(grid_of(tmp_path / "runs"), tmp_path / "runs", tmp_path))
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
    first = page.write(Material(grid, tmp_path / "runs", tmp_path)).read_bytes()
    assert page.write(Material(grid, tmp_path / "runs", tmp_path)).read_bytes() == first


def test_a_damaged_record_leaves_the_page_as_it_was(tmp_path):
    grid = grid_of(tmp_path / "runs")
    path = page.write(Material(grid, tmp_path / "runs", tmp_path))
    before = path.read_bytes()
    (tmp_path / "runs" / "0-kd-s0" / "record.json").write_text("{")
    with pytest.raises(UserError, match="0-kd-s0"):
        page.write(Material(grid, tmp_path / "runs", tmp_path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", [*HOSTILES, "\ud800"])
def test_no_text_leaves_the_script_element_and_all_come_back(text):
    shown = embedded({"a": text})
    assert not re.search("[<>&\u2028\u2029]", shown)
    assert json.loads(shown) == {"a": text}
    shown.encode()


def test_a_missing_run_says_what_it_waits_for(tmp_path):
    grid = manifest(["kd"], seeds=[0, 1])
    grid["runs"] = {"0-kd-s0": DIGITS | {"teacher": "0-teacher"}}
    (tmp_path / "0-kd-s1").mkdir()
    RunFolder(tmp_path / "0-kd-s1").checkpoint.touch()
    content = content_of(page.write(Material(grid, tmp_path, tmp_path / "results")))
    waits = "waits for 0-teacher, which has not been done"
    stopped = "stopped on the way; goes on from its checkpoint"
    assert [run["why"] for run in content["runs"]] == ["not begun", waits, stopped]
    fail(tmp_path, "0-teacher", "broke")
    content = content_of(page.write(Material(grid, tmp_path, tmp_path / "results")))
    assert content["runs"][1]["why"] == "waits for 0-teacher, which has failed"


def test_a_teacher_from_elsewhere_has_no_history_and_still_a_page(tmp_path):
    put(tmp_path, "0-teacher", "record.json", record("0-teacher", 90.0, []))
    content = content_of(page.write(Material(manifest(["kd"]), tmp_path, tmp_path / "results")))
    assert (content["runs"][0]["state"], content["runs"][0]["best"]) == ("done", None)


def test_a_thinned_history_keeps_its_ends_and_the_turns_of_its_phases():
    early = {"phase": "hint", "lr": 0.1, "losses": {"hint": 1.23456}}
    unknown = {"phase": "distill", "lr": 0.1, "losses": {"kd": float("nan")}}
    late = unknown | {"losses": {"kd": 2e-7}}
    parts = [early] * 61 + [unknown] + [late] * 88 + [late | {"lr": 0.01}] * 90
    history = [part | {"epoch": e, "top1": e / 3} for e, part in enumerate(parts, start=1)]
    places = thinning.kept(history, 60)
    axis = thinning.axis(history, places)
    assert {1, 61, 62, 240} <= {*axis["epochs"]}
    assert len(places) <= 62
    assert (axis["phases"], axis["drops"]) == ([["hint", 61], ["distill", 240]], [150])
    assert thinning.hundredths(history, places)[-1] == 8000
    found = thinning.losses(history, places)
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
    path = page.write(Material(grid, tmp_path, tmp_path / "results"))
    assert path.stat().st_size < 3_000_000
    assert time.process_time() - began < 20


# ---------------------------------------------------------------- the command


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A suite of one teacher and one student, planned, with the teacher done."""
    (tmp_path / "small.yaml").write_text(SUITE)
    [kd] = by_id(student("kd", 0))
    grid = manifest(["kd"], seeds=[0], suite="small", local=False, plugins=[])
    grid["digest"] = digest(load(tmp_path / "small.yaml").data)
    grid["code"] = source_digest(plugins=[])
    grid["columns"][0]["teacher_run"] = TEACHER.id
    grid["cells"][0]["run"] = kd
    grid["runs"] = {run.id: run.as_json() for run in (TEACHER, student("kd", 0))}
    write_manifest(tmp_path, grid)
    finish(tmp_path / "runs", TEACHER.id, 97.0, "scratch")
    return Planned("small", grid, Store(tmp_path), tmp_path)


def report(planned: Planned, *flags: str) -> int:
    suite = planned.results / "small.yaml"
    return main(["report", str(suite), "--results", str(planned.results), *flags])


def test_the_command_writes_the_page_when_asked_to_and_names_it(planned, capsys):
    assert report(planned) == 0
    assert not (planned.results / "tables" / "small.html").exists()
    assert report(planned, "--html") == 0
    assert "tables/small.html" in capsys.readouterr().out
    assert content_of(planned.results / "tables" / "small.html")["refresh"] is None


def test_watching_follows_a_grid_to_its_end(planned):
    path, console = planned.results / "tables" / "small.html", Console(file=io.StringIO())
    also = [functools.partial(page.write, refresh=EVERY)]
    watch = threading.Thread(target=follow, args=(planned, also, console, 0.02), daemon=True)
    watch.start()
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    content = content_of(path)
    assert content["refresh"] == EVERY
    assert [run["state"] for run in content["runs"]] == ["done", "missing"]
    finish(planned.results / "runs", planned.manifest["cells"][0]["run"], 92.0)
    watch.join(60)
    assert not watch.is_alive()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition("  ")[2] for line in lines] == ["small: 1 done, 1 ready"]


def test_a_watch_that_is_interrupted_leaves_a_page_that_waits_for_nothing(planned, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.cli.follow.time.sleep", interrupt)
    assert report(planned, "--html", "--watch") == 130
    assert content_of(planned.results / "tables" / "small.html")["refresh"] is None
