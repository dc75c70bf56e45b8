"""Event files made from records, read back with TensorBoard."""

import json
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

from benchmark.cli.main import main
from benchmark.report import ReportData, tensorboard
from benchmark.report.tensorboard import safe_folder_name
from benchmark.store.claim import claim_run
from tests.report.grids import finish, finish_all, manifest, put


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_a_run_has_its_accuracy_losses_and_learning_rate_by_epoch(tmp_path):
    grid = manifest(["fitnets"], seeds=[0])
    finish_all(tmp_path / "runs", grid)
    folder = tensorboard.write(ReportData(grid, tmp_path / "runs", tmp_path))
    assert folder == tmp_path / "tensorboard" / "small"
    found = read(folder / "fitnets" / "resnet56 resnet20" / "s0")
    assert found.Tags()["scalars"] == [
        *("test/top1", "test/top5", "test/loss", "learning rate", "loss/fitnets", "loss/ce")
    ]
    record = json.loads((tmp_path / "runs" / "0-fitnets-s0" / "record.json").read_text())
    history = record["history"]
    top1 = found.Scalars("test/top1")
    assert [event.step for event in top1] == [epoch["epoch"] for epoch in history]
    assert [event.value for event in top1] == pytest.approx([epoch["top1"] for epoch in history])
    in_its_phase = list(range(6, 21))
    assert [event.step for event in found.Scalars("loss/ce")] == in_its_phase
    first, *_, last = found.Scalars("learning rate")
    assert last.wall_time - first.wall_time == pytest.approx(19 * 1.2)
    teacher = read(folder / "teacher" / "resnet56 resnet20")
    assert len(teacher.Scalars("test/top1")) == 20


def test_a_run_has_its_parameters_but_not_its_teachers(tmp_path):
    grid = manifest(["kd"], seeds=[0])
    finish_all(tmp_path, grid)
    record = json.loads((tmp_path / "0-kd-s0" / "record.json").read_text())
    record["config"] |= {"recipe": {"lr": 0.05}, "teacher": {"student": "resnet56"}, "flip": None}
    put(tmp_path, "0-kd-s0", "record.json", record)
    folder = tensorboard.write(ReportData(grid, tmp_path, tmp_path / "results"))
    found = read(folder / "kd" / "resnet56 resnet20" / "s0")
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    shown = parse_session_start_info_plugin_data(content)
    assert set(shown.hparams) == {"dataset.name", "student", "protocol", "recipe.lr"}


def test_a_second_write_only_adds_new_runs(tmp_path):
    grid = manifest(["kd"], seeds=[0, 1])
    finish(tmp_path, "0-kd-s0", 91.0)
    folder = tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("events*")}
    content = {path: path.read_bytes() for path in before}
    finish(tmp_path, "0-kd-s1", 92.0)
    tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("events*")}
    assert before.items() < after.items()
    for path in before:
        path.unlink()
    tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    assert {path: path.read_bytes() for path in before} == content


def test_a_running_run_has_the_epochs_at_which_it_was_written_until_it_is_done(tmp_path):
    grid = manifest(["kd"], seeds=[0])
    place = tmp_path / "tensorboard" / "small" / "kd" / "resnet56 resnet20" / "s0"
    held = claim_run(tmp_path / "0-kd-s0")
    assert held is not None
    for epoch in (3, 3, 7):
        held.beat({"epoch": epoch, "epochs": 20, "phase": "distill", "top1": 10.0 * epoch})
        tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    reader = read(place)
    assert [(e.step, e.value) for e in reader.Scalars("test/top1")] == [(3, 30.0), (7, 70.0)]
    finish(tmp_path, "0-kd-s0", 91.0)
    tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    reader.Reload()  # one that was open all the time
    assert [e.step for e in reader.Scalars("test/top1")] == list(range(1, 21))
    assert [e.step for e in read(place).Scalars("test/top1")] == list(range(1, 21))


def test_a_new_run_of_a_cell_replaces_the_old_ones_files(tmp_path):
    grid = manifest(["kd"], seeds=[0])
    finish(tmp_path, "0-kd-s0", 91.0)
    tensorboard.write(ReportData(grid, tmp_path, tmp_path))
    grid["cells"][0]["run"] = "another"
    finish(tmp_path, "another", 92.0)
    [path] = (tensorboard.write(ReportData(grid, tmp_path, tmp_path)) / "kd").rglob("events*")
    assert "another" in path.name


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", "a%2Fb", "\0", "k d", "é", "a\\b"])
def test_every_name_is_a_single_folder(name):
    assert Path(safe_folder_name(name)).parts == (safe_folder_name(name),)
    assert safe_folder_name(name) not in ("..", ".")
    assert "\\" not in safe_folder_name(name)


def test_different_names_have_different_folders():
    names = ["..", ".", "%2E", "%2E%2E", "a/b", "a%2Fb", "a b", "a_b"]
    assert len({safe_folder_name(name) for name in names}) == len(names)


def test_without_tensorboard_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    monkeypatch.delitem(sys.modules, "benchmark.report.tensorboard")
    monkeypatch.delattr("benchmark.report.tensorboard")
    assert main(["report", "quickstart", "--tensorboard"]) == 2
    assert "pip install -e '.[tensorboard]'" in capsys.readouterr().err
