import json
from typing import Any

import pytest

from benchmark.config.errors import UserError
from benchmark.config.validation import short_digest
from benchmark.report.results.reading import load_results
from tests.report.grids import fail, finish, finish_all, manifest, put, record


def test_every_run_is_done_failed_missing_or_not_applicable(tmp_path):
    grid = manifest(["kd", "fsp"], inapplicable={(0, "fsp"): "widths differ"})
    finish(tmp_path, "0-kd-s0", 91.5)
    fail(tmp_path, "0-kd-s1", "loss is nan")
    results = load_results(grid, tmp_path)
    done, failed, missing = results.students[0, "kd"]
    assert done.record is not None
    assert (done.state, done.seed, done.record.result.top1) == ("done", 0, 91.5)
    assert (failed.state, failed.seed, failed.failure) == ("failed", 1, "loss is nan")
    assert (missing.state, missing.seed, missing.record) == ("missing", 2, None)
    fsp = results.students[0, "fsp"]
    assert [(o.state, o.reason) for o in fsp] == [("not applicable", "widths differ")] * 3
    assert results.teachers[0].state == "missing"


def test_a_run_with_a_record_and_an_earlier_failure_is_done(tmp_path):
    fail(tmp_path, "0-kd-s0", "loss is nan")
    finish(tmp_path, "0-kd-s0", 91.5)
    outcome = load_results(manifest(["kd"]), tmp_path).students[0, "kd"][0]
    assert (outcome.state, outcome.failure) == ("done", None)


def test_best_on_test_is_the_first_epoch_of_the_highest_top1(tmp_path):
    history = [
        {"epoch": epoch, "phase": phase, "top1": top1}
        for epoch, phase, top1 in [(1, "hint", 10), (2, "distill", 93), (3, "distill", 93)]
    ]
    put(tmp_path, "0-kd-s0", "record.json", record("0-kd-s0", 90.0, history))
    read = load_results(manifest(["kd"]), tmp_path).students[0, "kd"][0].record
    assert read is not None
    assert (read.best_on_test().epoch, read.best_on_test().top1) == (2, 93.0)
    assert read.initialising() == 1


def _without_top1() -> bytes:
    content = record("0-kd-s0", 90.0, [])
    del content["result"]["top1"]
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema": 1, "id": "0-kd',
        b"[]",
        b"\xff\xfe",
        _without_top1(),
        json.dumps(record("0-kd-s0", float("nan"), [])).encode(),
        json.dumps(record("0-kd-s0", 900.0, [])).encode(),
        json.dumps(record("0-kd-s0", 90.0, []) | {"schema": 2}).encode(),
    ],
    ids=["empty", "torn", "list", "bytes", "no top1", "nan", "no percentage", "schema"],
)
@pytest.mark.parametrize("name", ["record.json", "failure.json"])
def test_a_damaged_file_costs_its_own_run_and_is_named(tmp_path, content, name, capsys):
    if name == "failure.json" and content.startswith(b'{"schema": 1, "id": "0-kd-s0"'):
        content = content.replace(b'"schema": 1', b'"schema": 3')
    (tmp_path / "0-kd-s0").mkdir()
    (tmp_path / "0-kd-s0" / name).write_bytes(content)
    finish(tmp_path, "0-kd-s1", 91.5)
    (tmp_path / "0-kd-s2").mkdir()
    (tmp_path / "0-kd-s2" / name).write_bytes(content)
    first, good, last = load_results(manifest(["kd"]), tmp_path).students[0, "kd"]
    assert (first.state, good.state, last.state) == ("failed", "done", "failed")
    warnings = capsys.readouterr().err.splitlines()
    for outcome, warning in zip((first, last), warnings, strict=True):
        assert outcome.record is None
        assert warning == f"warning: {outcome.failure}"
        assert str(tmp_path / outcome.run / name) in warning
        assert warning.endswith("Remove it, then run again.")


def real_record(run: str = "0-kd") -> tuple[str, dict[str, Any]]:
    """Return a record whose id is what its configuration gives, as a job writes it."""
    made = record(run, 90.0, [{"epoch": 1, "phase": "task", "top1": 90.0}])
    made["id"] = f"{run}-{short_digest(made['config'])}"
    return made["id"], made


def test_a_record_belongs_to_the_folder_whose_id_its_configuration_gives(tmp_path, capsys):
    run, made = real_record()
    grid = manifest(["kd"], seeds=[0])
    grid["cells"][0]["run"] = run
    put(tmp_path, run, "record.json", made)
    assert load_results(grid, tmp_path).students[0, "kd"][0].state == "done"
    other, theirs = real_record("1-kd")
    put(tmp_path, run, "record.json", theirs)  # copied
    [outcome] = load_results(grid, tmp_path).students[0, "kd"]
    assert outcome.state == "failed"
    assert f"is the record of another run, {other}" in str(outcome.failure)
    changed = made | {"config": {**made["config"], "student": "resnet20"}}  # and its id edited
    put(tmp_path, run, "record.json", changed)
    [outcome] = load_results(grid, tmp_path).students[0, "kd"]
    assert "its configuration is of another run" in str(outcome.failure)
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "../x"},
        {"suite": "/tmp/x"},
        {"suite": ".."},
        {"digest": "../../0"},
        {"columns": []},
        {"cells": []},
        {"methods": ["other"]},
        {"epochs": 10**12},
        {"runs": {"../x": {}}},
        {"runs": {"a": {"teacher": "b"}, "b": {"teacher": "a"}}},
    ],
    ids=str,
)
def test_a_manifest_that_names_what_is_not_in_it_or_leaves_its_folder_is_refused(tmp_path, changes):
    with pytest.raises(UserError, match="manifest is invalid: "):
        load_results(manifest(["kd"]) | changes, tmp_path)


def test_an_invalid_manifest_is_an_error_that_names_the_field(tmp_path):
    with pytest.raises(UserError, match=r"columns\.0\.teacher: "):
        load_results(manifest() | {"columns": [{"dataset": "digits"}]}, tmp_path)


def test_the_whole_record_of_a_real_grid_is_read(tmp_path):
    grid = manifest()
    finish_all(tmp_path, grid)
    results = load_results(grid, tmp_path)
    assert results.any_done()
    assert {o.state for outcomes in results.students.values() for o in outcomes} == {"done"}
    fitnets = results.students[0, "fitnets"][0].record
    assert fitnets is not None
    assert (len(fitnets.history), fitnets.initialising()) == (20, 5)
