"""The description of a run and its rerun command."""

import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.report.run_account import describe_run
from benchmark.suite import suite as planned
from tests.report.grids import fail, finish, manifest


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A planned suite with one finished and one failed run, and the teacher of one of them."""
    grid = manifest(["scratch", "kd"], seeds=[0, 1])
    grid["runs"] = {cell["run"]: {"student": "resnet20"} for cell in grid["cells"]}
    grid["runs"] |= {
        "0-kd-s0": {"student": "resnet20", "teacher": "0-teacher"},
        "0-teacher": {"student": "resnet56"},
    }
    grid["asked"] = ["/elsewhere/small.yaml", "--set", "recipe.epochs=2"]
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "small-0123456789.json").write_text(json.dumps(grid))
    finish(tmp_path / "runs", "0-kd-s0", 91.234)
    finish(tmp_path / "runs", "0-teacher", 97.0)
    fail(tmp_path / "runs", "0-kd-s1", "loss is nan")
    return tmp_path


def lines_about(results: Path, run: str, configs: str = "/elsewhere") -> list[str]:
    return list(describe_run(run, results, Path(configs)))


def test_a_run_is_described_with_state_result_suite_config_and_provenance(results):
    lines = lines_about(results, "0-kd-s0")
    assert lines[0] == "0-kd-s0: done, top-1 91.23 % after the last epoch (20)"
    assert lines[1] == "in suite small: row kd, seed 0, resnet56 -> resnet20 on digits"
    assert json.loads(lines[3])["student"] == "resnet20"
    assert "environment: commit abc, dirty False, torch 2.15" in lines


def test_a_run_is_described_with_all_of_its_measures(results):
    lines = dict(
        line.split(": ", 1) for line in lines_about(results, "0-kd-s0")[1:] if ": " in line
    )
    assert lines["calibration"].endswith(
        "temperature 1.4, scaled: ece 1.1, nll 0.28766, brier 0.184086"
    )
    assert lines["fidelity"].startswith("agreement 82, kl 0.38")
    assert lines["cka"].startswith("stem 0.95, stage 1 0.85")
    assert "step_seconds 0.024" in lines["cost"]


def test_the_rerun_command_selects_one_cell_and_overwrites_nothing(results):
    assert lines_about(results, "0-kd-s0")[-1].endswith(
        "python run_all.py small --set recipe.epochs=2 "
        "--only method=kd,seed=0,student=resnet20,teacher=resnet56,dataset=digits "
        "--results results-again"
    )
    assert (
        "run_all.py /elsewhere/small.yaml --set" in lines_about(results, "0-kd-s0", "/configs")[-1]
    )


def test_a_teachers_rerun_command_selects_the_first_cell_that_needs_it(results):
    lines = lines_about(results, "0-teacher")
    assert lines[1] == "needed in suite small: row kd, seed 0, resnet56 -> resnet20 on digits"
    assert "--only method=kd,seed=0," in lines[-1]


def test_the_rerun_command_has_the_arguments_that_planned_the_suite(tmp_path, monkeypatch, capsys):
    # Here torch is loaded already, so that planning needs no process of its own.
    monkeypatch.setattr(
        planned, "run_in_child_process", lambda function, *arguments: function(*arguments)
    )
    path = tmp_path / "own.yaml"
    path.write_text(
        "title: t\ndataset: {name: digits, limit: 64}\npairs: [resnet14 -> resnet8]\n"
        "methods: {scratch: }\nseeds: [0]\nrecipe: {epochs: 3, batch_size: 32, lr: 0.05}\n"
    )
    changes = ["recipe.epochs=1"]
    suite = planned.Suite.open(path, changes, tmp_path / "r", True, data=tmp_path)
    [run] = suite.select("").values()
    suite.store.run(run.id).write_config(run.as_json())
    assert main.main(["show", run.id[:12], "--results", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{run.id}: waiting"
    assert f"run_all.py {path} --set recipe.epochs=1 --only method=scratch,seed=0," in said[-1]


def test_a_failed_run_is_described_with_its_message(results):
    lines = lines_about(results, "0-kd-s1")
    assert lines[:2] == ["0-kd-s1: failed", "failed: loss is nan"]


def test_a_run_of_no_planned_suite_has_no_rerun_command(results):
    (results / "suites" / "small-0123456789.json").unlink()
    assert lines_about(results, "0-kd-s0")[-1].startswith("rerun: no suite")
