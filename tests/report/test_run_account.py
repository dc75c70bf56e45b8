"""What is told of one run, and the command that does it again."""

import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.report.run_account import account
from benchmark.suite import suite as planned
from tests.report.grids import fail, finish, manifest


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A planned suite with one run done, one failed; a teacher that kd needs."""
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


def told(results: Path, run: str, configs: str = "/elsewhere") -> list[str]:
    return list(account(run, results, Path(configs)))


def test_a_run_is_told_with_state_result_place_config_and_provenance(results):
    lines = told(results, "0-kd-s0")
    assert lines[0] == "0-kd-s0: done, top-1 91.23 % after epoch 20, the last"
    assert lines[1] == "in suite small: row kd, seed 0, resnet56 -> resnet20 on digits"
    assert json.loads(lines[3])["student"] == "resnet20"
    assert "environment: commit abc, dirty False, torch 2.15" in lines


def test_a_run_is_told_with_all_that_is_measured_of_it(results):
    lines = dict(line.split(": ", 1) for line in told(results, "0-kd-s0")[1:] if ": " in line)
    assert lines["calibration"].endswith(
        "temperature 1.4, scaled: ece 1.1, nll 0.28766, brier 0.184086"
    )
    assert lines["fidelity"].startswith("agreement 82, kl 0.38")
    assert lines["cka"].startswith("stem 0.95, stage 1 0.85")
    assert "step_seconds 0.024" in lines["cost"]


def test_the_command_does_that_cell_alone_again_and_overwrites_nothing(results):
    assert told(results, "0-kd-s0")[-1].endswith(
        "python run_all.py small --set recipe.epochs=2 "
        "--only method=kd,seed=0,student=resnet20,teacher=resnet56,dataset=digits "
        "--results results-again"
    )
    assert "run_all.py /elsewhere/small.yaml --set" in told(results, "0-kd-s0", "/configs")[-1]


def test_a_teacher_is_done_again_by_the_first_cell_that_needs_it(results):
    lines = told(results, "0-teacher")
    assert lines[1] == "needed in suite small: row kd, seed 0, resnet56 -> resnet20 on digits"
    assert "--only method=kd,seed=0," in lines[-1]


def test_a_planned_suite_remembers_what_was_asked_and_the_verb_tells_it(
    tmp_path, monkeypatch, capsys
):
    # Here torch is loaded already, so that planning needs no process of its own.
    monkeypatch.setattr(planned, "in_a_child", lambda function, *arguments: function(*arguments))
    path = tmp_path / "own.yaml"
    path.write_text(
        "title: t\ndataset: {name: digits, limit: 64}\npairs: [resnet14 -> resnet8]\n"
        "methods: {scratch: }\nseeds: [0]\nrecipe: {epochs: 3, batch_size: 32, lr: 0.05}\n"
    )
    changes = ["recipe.epochs=1"]
    suite = planned.Planned.open(path, changes, tmp_path / "r", True, data=tmp_path)
    [run] = suite.select("").values()
    suite.store.run(run.id).write_config(run.as_json())
    assert main.main(["show", run.id[:12], "--results", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{run.id}: waiting"
    assert f"run_all.py {path} --set recipe.epochs=1 --only method=scratch,seed=0," in said[-1]


def test_a_failed_run_says_why(results):
    lines = told(results, "0-kd-s1")
    assert lines[:2] == ["0-kd-s1: failed", "failed: loss is nan"]


def test_a_run_of_no_suite_here_says_that_its_command_is_unknown(results):
    (results / "suites" / "small-0123456789.json").unlink()
    assert told(results, "0-kd-s0")[-1].startswith("again: no suite")
