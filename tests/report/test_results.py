import json

import pytest

from benchmark.config.errors import UserError
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
def test_a_damaged_file_is_one_clear_error_that_names_it(tmp_path, content, name):
    if name == "failure.json" and content.startswith(b'{"schema": 1, "id": "0-kd-s0"'):
        content = content.replace(b'"schema": 1', b'"schema": 3')
    (tmp_path / "0-kd-s0").mkdir()
    (tmp_path / "0-kd-s0" / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        load_results(manifest(["kd"]), tmp_path)
    assert str(tmp_path / "0-kd-s0" / name) in str(error.value)
    assert "\n" not in str(error.value)


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
