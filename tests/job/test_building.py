"""What fails while a cohort is built is the failure of that run alone."""

from pathlib import Path

import pytest

from benchmark.config.runs import Run
from benchmark.store.folder import Store
from tests.job.in_process import do, grid, perform

ONE_IMAGE = """
title: one image
dataset: {name: digits, limit: 1}
pairs: [resnet14 -> resnet8]
methods: {scratch: , kd: , crd: }
seeds: [0]
recipe: {epochs: 1, batch_size: 32, lr: 0.05}
"""
"""crd needs images of two classes, so it cannot be built."""


def states(store: Store, runs: dict[str, Run]) -> dict[str, str]:
    """Return the state of each run by its method, and of the teacher."""
    names = {run_id: run_id.split("-")[1] + run_id.split("-")[2] for run_id in runs}
    return {names[run_id]: state for run_id, state in store.states(runs).items()}


def test_a_method_that_cannot_be_built_fails_alone_and_the_others_numbers_stay(tmp_path: Path):
    made = grid(tmp_path, ONE_IMAGE)
    store = perform(made, tmp_path / "a")
    assert states(store, made.runs()) == {
        "resnet14scratch": "done",
        "resnet8scratch": "done",
        "resnet8kd": "done",
        "resnet8crd": "failed",
    }
    [run_id] = (run_id for run_id in made.runs() if "-crd-" in run_id)
    failure = store.run(run_id).read_failure()
    assert "crd needs train samples of two classes" in failure["message"]
    assert "build_learner" in failure["traceback"]
    assert not store.run(run_id).claim.exists()
    others = grid(tmp_path, ONE_IMAGE.replace(", crd: ", ""))
    alone = perform(others, tmp_path / "b")
    for run_id in others.runs():
        records = [each.run(run_id).read_record() for each in (store, alone)]
        assert records[0]["weights"] == records[1]["weights"]
        assert records[0]["result"] == records[1]["result"]


def test_a_teacher_that_cannot_be_loaded_fails_the_runs_that_it_teaches_alone(tmp_path: Path):
    made = grid(tmp_path, ONE_IMAGE.replace(", crd: ", ""))
    store = Store(tmp_path / "a")
    for run in made.runs().values():
        store.run(run.id).write_config(run.as_json())
    teacher, *students = made.runs()
    do([teacher], store, store.root, store.root)
    store.run(teacher).weights.write_bytes(b"not these")
    do(students, store, store.root, store.root)
    assert states(store, made.runs()) == {
        "resnet14scratch": "done",
        "resnet8scratch": "done",
        "resnet8kd": "failed",
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dataset": 3}', "[" * 5000])
def test_a_damaged_configuration_fails_that_run_alone(tmp_path: Path, text: str):
    made = grid(tmp_path, ONE_IMAGE.replace(", kd: , crd: ", ""))
    store = Store(tmp_path / "a")
    good, bad = [*made.runs()] if len(made.runs()) == 2 else [*made.runs(), "damaged-one"]
    store.run(good).write_config(made.runs()[good].as_json())
    store.run(bad).path.mkdir(parents=True)
    store.run(bad).config.write_text(text)
    do([bad, good], store, store.root, store.root)
    assert store.run(good).state() == "done"
    assert store.run(bad).state() == "failed"
    assert "config.json" in store.run(bad).read_failure()["message"]
