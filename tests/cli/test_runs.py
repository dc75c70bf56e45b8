"""Runs are removed and compared; suites are listed; a wrong first word is answered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.launch.status import SUMMARY_LINES, RunStatus, plan_lines, summary_lines
from benchmark.store.claim import claim_run

Output = pytest.CaptureFixture[str]


@pytest.fixture
def copies(finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of the results of a finished suite."""
    for name in ("a", "b"):
        shutil.copytree(finished / "results", tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def run_folder(results: Path, method: str) -> Path:
    return next(results.glob(f"runs/*-{method}-*"))


def teacher_folder(results: Path) -> Path:
    return next(results.glob("runs/digits-resnet14-*"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_removed_run_is_moved_and_listed_with_the_runs_that_need_it(
    copies: tuple[Path, Path], capsys: Output
):
    results, _ = copies
    teacher = teacher_folder(results)
    assert main.main(["remove", teacher.name, "--results", str(results)]) == 0
    said = capsys.readouterr().out
    assert not teacher.exists()
    assert (results / "removed" / teacher.name / "student.pt").is_file()
    assert not (results / "removed" / teacher.name / "claim.json").exists()
    assert "  student.pt, " in said
    assert run_folder(results, "kd").name in said.partition("need it")[2]
    assert run_folder(results, "resnet8-scratch").name not in said


def test_a_running_run_and_the_teacher_of_one_are_not_removed(
    copies: tuple[Path, Path], capsys: Output
):
    results, _ = copies
    kd, teacher = run_folder(results, "kd"), teacher_folder(results)
    (kd / "record.json").unlink()
    assert claim_run(kd) is not None  # by this process, which is alive
    for folder, said in ((kd, "is running on"), (teacher, f"{kd.name} needs it and is running")):
        assert main.main(["remove", folder.name, "--results", str(results)]) == 2
        assert said in capsys.readouterr().err
        assert folder.is_dir()


def test_a_run_that_is_removed_twice_is_kept_twice(copies: tuple[Path, Path]):
    results, other = copies
    for _ in range(2):
        folder = run_folder(results, "kd")
        assert main.main(["remove", folder.name, "--results", str(results)]) == 0
        shutil.copytree(other / "runs" / folder.name, folder)
    assert {path.name for path in (results / "removed").iterdir()} == {
        folder.name,
        f"{folder.name}-2",
    }


def test_copies_of_results_are_equal(copies: tuple[Path, Path], capsys: Output, finished: Path):
    a, b = map(str, copies)
    assert main.main(["compare", a, b]) == 0
    assert main.main(["compare", a, b, str(finished / "small.yaml")]) == 0
    assert capsys.readouterr().out.count("runs are equal") == 2


def test_what_differs_between_results_is_named(copies: tuple[Path, Path], capsys: Output):
    a, b = copies
    record = run_folder(b, "kd") / "record.json"
    content = json.loads(record.read_text())
    content["history"][1]["test_loss"] += 0.5
    content["history"][0]["seconds"] = 99.0  # a time, which is no difference
    result = {**content["result"], "top1": 1.5}
    change(record, history=content["history"], result=result, weights={"sha256": "f" * 64})
    (run_folder(b, "fitnets") / "record.json").unlink()
    assert main.main(["compare", str(a), str(b)]) == 1
    said = capsys.readouterr().out
    assert "1 run differs (A and B)" in said
    assert "and ffffffffffff" in said
    assert f"top1: {content['result']['top1']} and 1.5" in said
    assert "history: from epoch 2" in said
    assert f"1 run is done in {a} only\n  {run_folder(a, 'fitnets').name}" in said


def test_a_damaged_record_costs_its_own_run_only(copies: tuple[Path, Path], capsys: Output):
    a, b = copies
    (run_folder(b, "kd") / "record.json").write_text("{")
    assert main.main(["compare", str(a), str(b)]) == 1
    assert "is damaged" in capsys.readouterr().out


def test_a_folder_without_runs_cannot_be_compared(
    copies: tuple[Path, Path], tmp_path: Path, capsys: Output
):
    assert main.main(["compare", str(copies[0]), str(tmp_path / "none")]) == 2
    assert "there is no finished run in this results folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("word", "meant"), [("plann", "plan"), ("statu", "status"), ("cifar10", "cifar100")]
)
def test_an_unknown_first_word_is_answered_with_the_nearest_command_or_suite(
    word: str, meant: str, capsys: Output
):
    with pytest.raises(SystemExit, match="2"):
        main.main([word])
    said = capsys.readouterr().err
    assert said.startswith(f"error: '{word}': no such command or suite. Did you mean '{meant}'?")


def test_the_version_is_the_packages(capsys: Output):
    with pytest.raises(SystemExit, match="0"):
        main.main(["--version"])
    assert capsys.readouterr().out.startswith("kd-suite ")


def test_every_suite_is_listed_with_title_and_size(capsys: Output):
    assert main.main(["suites"]) == 0
    said = capsys.readouterr().out
    assert "cannot be read" not in said
    assert "\nquickstart: " in said
    assert "\ncifar100: " in said
    assert "13 pairs x " in said


MANIFEST: dict[str, Any] = {
    "suite": "large",
    "title": "many runs",
    "columns": [
        {"teacher": f"t{i}", "student": f"s{i}", "teacher_run": f"t{i}-run"} for i in range(9)
    ],
    "cells": [
        {
            "column": i,
            "method": method,
            "run": f"{method}-{i}-{seed}",
            "reason": "no stages" if method == "at" else "",
        }
        for i in range(9)
        for method in ("kd", "at", "ab", "fsp", "vid")
        for seed in range(5)
    ],
}


def test_the_status_of_a_large_suite_is_a_short_summary_with_what_is_urgent_first():
    statuses = {cell["run"]: RunStatus("ready", "") for cell in MANIFEST["cells"]}
    statuses["kd-3-1"] = RunStatus("lost", "gone")
    statuses["kd-4-1"] = RunStatus("running", "")
    statuses["kd-0-0"] = RunStatus("done", "")
    lines = summary_lines(MANIFEST, statuses, [str(run_id) for run_id in statuses])
    assert len(lines) == SUMMARY_LINES + 2 <= 40
    assert lines[0] == "lost: kd, t3 -> s3: 1 run"
    assert lines[1] == "running: kd, t4 -> s4: 1 run"
    assert lines[2] == "ready: kd, t0 -> s0: 4 runs"
    assert lines[-2:] == ["... and 11 more such lines", "every run: status --all"]


def test_a_plan_of_some_runs_names_only_what_was_chosen_as_not_applicable():
    lines = list(plan_lines(MANIFEST, {}, lambda cell: cell["column"] == 2))
    assert [line for line in lines if "no stages" in line] == ["  at, t2 -> s2: no stages"]
    assert "1 not applicable" in lines
