"""The fields of a record on disk, and their order, for every kind of run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.errors import UserError
from benchmark.job.import_teacher import import_checkpoint
from benchmark.store.atomic import encode_json
from benchmark.store.folder import RunFolder, Store
from benchmark.store.loading import parse_record
from benchmark.store.record import Record
from tests.job import in_process
from tests.training import learners

SUITE = """
title: a test
dataset: {name: digits, limit: 48}
pairs: [resnet14 -> resnet8]
methods: {scratch: {}, kd: {}}
seeds: [0]
recipe: {epochs: 1, batch_size: 16, lr: 0.05}
probes:
  augmented: {dataset: digits, protocol: hsakd, epochs: 1, limit: 48}
  embedded: {dataset: digits, protocol: strict, epochs: 1, limit: 300}
"""
SCORES = ["top1", "top5", "test_loss"]
CALIBRATION = ["ece", "nll", "brier"]
OPERATIONS = ["flops", "deployed_flops", "connector_flops"]
ROW = [
    *("epoch", "phase", "lr", "losses", *SCORES),
    *("seconds", "wall_seconds", "step_seconds", "teacher_seconds", "joules"),
]
COST = [
    *("seconds", "wall_seconds", "step_seconds", "teacher_seconds", "images_per_second"),
    *("gpu_hours", "energy_joules", "peak_memory_mb", "peak_gpu_memory_mb", "halved"),
    *("parameters", "connector_parameters", "deployed_parameters"),
]
MACHINE = [
    *("commit", "dirty", "python", "torch", "torchvision", "numpy"),
    *("platform", "cpu", "device", "threads", "host"),
]
END = ["cost", "environment", "started", "finished"]
TRAINED = ["config", "result", "history", "weights"]
MEASURED = ["preprocessing", "measures", *END]
STUDENT = ["schema", "id", "kind", "teacher", *TRAINED, "predictions", *MEASURED]
PROBE = ["schema", "id", "kind", "backbone", "probe", *TRAINED, *MEASURED]
IMPORT = [
    *("schema", "id", "kind", "config", "result", "published", "remark", "history"),
    *("teacher", "weights", "file", "predictions", *MEASURED),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """A folder of a finished run of each kind, by kind."""
    path = tmp_path_factory.mktemp("records")
    grid = in_process.grid(path, SUITE)
    store = in_process.perform(grid, path / "results")
    runs = grid.runs()
    headings = [column.heading for column in grid.columns]
    cells = {(headings[cell.column], cell.method): cell.run for cell in grid.cells if cell.run}
    [student] = (run for run in runs.values() if run.id.startswith("digits-resnet8-kd-"))
    found = {
        "student": student.id,
        "teacher": student.needs[0].id,
        "hsakd probe": cells["augmented", "kd"].id,
        "strict probe": cells["embedded", "kd"].id,
    }
    file = path / "teacher.pth"
    torch.save(learners.teacher().state_dict(), file)
    imported = import_checkpoint(
        file, "resnet14", "digits", 50.0, Store(path / "other"), path
    ).folder
    return {kind: store.run(run_id) for kind, run_id in found.items()} | {"import": imported}


def content(folder: RunFolder) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(folder.record.read_bytes())
    return data


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        *(("student", STUDENT), ("teacher", STUDENT)),
        *(("hsakd probe", PROBE), ("strict probe", PROBE), ("import", IMPORT)),
    ],
)
def test_a_record_has_these_keys_in_this_order(
    folders: dict[str, RunFolder], kind: str, keys: list[str]
):
    record = content(folders[kind])
    assert [*record] == keys
    assert [*record["result"]] == [*SCORES, "epoch"]
    assert [*record["weights"]] == ["sha256"]
    is_import, is_probe = kind == "import", kind.endswith("probe")
    assert record["kind"] == ("import" if is_import else "probe" if is_probe else "train")
    for row in record["history"]:
        assert [*row] == ROW
    assert len(record["history"]) == {"strict probe": 2, "import": 0}.get(kind, 1)
    assert [*record["environment"]] == MACHINE + ["processes", "autocast"] * (not is_import)
    if is_import:
        operations = ["flops", "deployed_flops"]
        assert [*record["cost"]] == ["parameters", "deployed_parameters", *operations]
    else:
        assert [*record["cost"]] == COST + OPERATIONS * (not is_probe)


@pytest.mark.parametrize("kind", ["student", "teacher", "import"])
def test_a_record_has_these_measures_in_this_order(folders: dict[str, RunFolder], kind: str):
    measures = content(folders[kind])["measures"]
    assert [*measures] == ["calibration", "fidelity", "cka"]
    assert [*measures["calibration"]] == [*CALIBRATION, "temperature", "scaled"]
    assert [*measures["calibration"]["scaled"]] == CALIBRATION
    if kind == "student":
        assert [*measures["fidelity"]] == ["agreement", "kl", "error_agreement"]
        assert [*measures["cka"]] == ["stem", "stage 1", "stage 2", "stage 3", "embedding"]
    else:
        assert measures["fidelity"] is None
        assert measures["cka"] is None


def test_a_record_names_the_run_that_it_needed_and_how_a_probe_was_chosen(
    folders: dict[str, RunFolder],
):
    student = content(folders["student"])
    teacher = content(folders["teacher"])
    expected = [teacher["id"], teacher["result"]["top1"], teacher["weights"]["sha256"]]
    assert [*student["teacher"]] == ["id", "top1", "sha256"]
    assert [*student["teacher"].values()] == expected
    assert teacher["teacher"] is None
    assert content(folders["import"])["teacher"] is None
    assert [*content(folders["import"])["file"]] == ["name", "sha256"]
    probe = content(folders["strict probe"])
    expected = [student["id"], student["result"]["top1"], student["weights"]["sha256"]]
    assert [*probe["backbone"]] == ["id", "top1", "sha256"]
    assert [*probe["backbone"].values()] == expected
    assert [*probe["probe"]] == ["weight_decay", "candidates", "held_out", "held_out_top1"]
    assert content(folders["hsakd probe"])["probe"] == {}
    assert probe["measures"] is None


@pytest.mark.parametrize("kind", ["student", "hsakd probe", "strict probe", "import"])
def test_a_record_says_what_happened_to_its_images(folders: dict[str, RunFolder], kind: str):
    said = content(folders[kind])["preprocessing"]
    assert [*said] == ["size", "input_size", "steps", "mean", "std", "training", "classes"]
    assert (said["size"], said["input_size"], said["steps"]) == (16, 16, [])
    assert said["mean"] == [0.305] * 3
    assert said["classes"] == [*"0123456789"]
    augmented = {
        "student": {"crop": "padded", "padding": 2, "fill": "zeros", "flip": False},
        "hsakd probe": {"crop": "resized", "padding": 0, "fill": "zeros", "flip": True},
    }
    assert said["training"] == augmented.get(kind)


KINDS = ["student", "teacher", "hsakd probe", "strict probe", "import"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_read_and_written_again_is_the_same_file(
    folders: dict[str, RunFolder], kind: str
):
    folder = folders[kind]
    assert encode_json(folder.load_record().as_json()) == folder.record.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_record_is_in_the_schema(folders: dict[str, RunFolder], kind: str):
    record = content(folders[kind])
    in_schema(record, folders[kind].load_record())


def in_schema(written: Any, parsed: Any) -> None:
    """Fail where a key on disk has no field of its own with the same value."""
    if dataclasses.is_dataclass(parsed):
        fields = {field.name for field in dataclasses.fields(parsed)}
        assert written.keys() <= fields
        for name, value in written.items():
            in_schema(value, getattr(parsed, name))
    elif isinstance(parsed, tuple):
        for inner, row in zip(written, parsed, strict=True):
            in_schema(inner, row)
    else:
        assert written == parsed


OLD: dict[str, Any] = {
    "schema": 1,
    "id": "digits-resnet8-kd-s0-0123456789",
    "result": {"top1": 90.0, "epoch": 1},
    "history": [{"epoch": 1, "phase": "task", "top1": 90.0}],
    "cost": {"parameters": 10},
}
"""As little as a record of this schema has ever had."""


def test_an_old_record_with_fewer_fields_is_read():
    record = parse_record(OLD, "record.json")
    assert (record.measures, record.remark, record.teacher) == (None, None, None)
    assert (record.cost.seconds, record.cost.flops) == (0.0, None)
    assert record.history[0].step_seconds is None
    assert record.environment.commit is None


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"result": {"top1": 100.5, "epoch": 1}}, "result.top1"),
        ({"schema": 2}, "schema"),
        ({"history": [{"epoch": 1, "top1": 9.0}]}, "history.0.phase"),
        ({"kind": "other"}, "kind"),
    ],
)
def test_a_record_that_does_not_fit_the_schema_is_named_with_the_field(
    change: dict[str, Any], location: str
):
    with pytest.raises(UserError, match=rf"results/record\.json: is damaged \({location}: "):
        parse_record({**OLD, **change}, "results/record.json")


def test_the_record_is_the_last_file_of_a_run_and_names_its_weights(
    folders: dict[str, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record: Record = folders["student"].load_record()
    weights = folders["student"].weights.read_bytes()
    folder = RunFolder(tmp_path / record.id)
    folder.write_config({})
    folder.save_checkpoint(b"state")
    seen: list[set[str]] = []
    real = RunFolder.write_record

    def write_record(self: RunFolder, *arguments: Any) -> bool:
        seen.append({path.name for path in self.path.iterdir()})
        return real(self, *arguments)

    monkeypatch.setattr(RunFolder, "write_record", write_record)
    assert folder.finish(record, weights, b"predictions") is True
    assert seen == [{"config.json", "checkpoint.pt", "student.pt", "predictions.npy"}]
    assert folder.read_weights(folder.load_record().weights.sha256) == weights
    assert {path.name for path in folder.path.iterdir()} == {
        *("config.json", "student.pt", "predictions.npy", "record.json"),
    }
    assert folder.finish(dataclasses.replace(record, id="late"), b"late", b"late") is False
    assert folder.load_record().id == record.id
    assert folder.weights.read_bytes() == weights
    assert folder.predictions.read_bytes() == b"predictions"
