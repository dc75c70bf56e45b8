"""The command as a user meets it: whole processes, real trainings, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.store.folder import Store
from benchmark.suite.suite import suite_name
from tests.cli.command import (
    KEPT,
    LONG,
    ROOT,
    SUITE,
    TORCHLESS,
    call,
    children,
    command,
    numbers,
    records,
    start,
    suite,
    wait_for_a_checkpoint,
)


def test_a_run_trains_every_cell_and_leaves_whole_records(finished):
    made = records(finished)
    names = sorted(record["config"]["method"]["name"] for record in made.values())
    assert names == ["fitnets", "kd", "scratch", "scratch"]
    for run_id, record in made.items():
        assert record["id"] == run_id
        assert record["result"]["epoch"] == len(record["history"])
        assert record["environment"]["threads"] == 1
        assert {"torch", "commit", "device", "python"} <= record["environment"].keys()
        assert record["cost"]["parameters"] > 70_000
        files = {path.name for path in (finished / "results" / "runs" / run_id).iterdir()}
        assert files == KEPT


def test_a_students_record_names_its_teachers_weights(finished):
    made = records(finished)
    [kd] = [r for r in made.values() if r["config"]["method"]["name"] == "kd"]
    teacher = made[kd["teacher"]["id"]]
    assert kd["teacher"]["sha256"] == teacher["weights"]["sha256"]
    assert kd["teacher"]["top1"] == teacher["result"]["top1"]
    assert kd["config"]["teacher"] == teacher["config"]


def test_initialising_epochs_are_extra_where_the_suite_says_so(finished):
    [fitnets] = [
        r for r in records(finished).values() if r["config"]["method"]["name"] == "fitnets"
    ]
    assert [row["phase"] for row in fitnets["history"]] == ["hint", *["distill"] * 3]


def test_the_output_names_the_table_and_the_files(finished):
    text = (finished / "stdout").read_text()
    for kind in ("tables/small.md", "tables/small.tex", "tables/small.csv"):
        assert kind in text
        assert (finished / "results" / kind).stat().st_size > 100
    for kind in ("accuracy.png", "accuracy.pdf", "curves.png", "curves.pdf"):
        assert (finished / "results" / "plots" / f"small-{kind}").stat().st_size > 5000
    assert text.count("  done  top-1 ") == 4


def test_run_again_there_is_nothing_left_to_do(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "results").glob("runs/*/*")}
    again = call(finished, "run", str(finished / "small.yaml"))
    assert again.returncode == 0
    assert "all 4 runs are done, nothing is left to do" in again.stdout
    after = {path: path.stat().st_mtime_ns for path in (finished / "results").glob("runs/*/*")}
    assert after == before


def torchless(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call the command as on a machine that has no torch."""
    words = [sys.executable, "-c", TORCHLESS, *command(tmp_path, *arguments)[2:]]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


def test_report_status_and_a_finished_run_need_no_torch(finished):
    for verb in ("report", "status", "plan", "run"):
        done = torchless(finished, verb, str(finished / "small.yaml"))
        assert done.returncode == 0, done.stderr


def test_planning_without_torch_says_what_to_do(tmp_path):
    (tmp_path / "results").mkdir()
    done = torchless(tmp_path, "report", str(suite(tmp_path)))
    assert done.returncode == 2
    assert "planning needs torch, which is not installed here" in done.stderr


def test_help_imports_no_torch():
    code = "import sys\nfrom benchmark.cli.main import main\ntry:\n main(['--help'])\nfinally:\n"
    code += " heavy = {'torch', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
    code += " print('heavy:', sorted(heavy))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "heavy: []" in done.stdout
    assert "VERB" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_jobs_releases_their_claims_and_says_how_to_go_on(tmp_path, number):
    process = start(tmp_path, "run", str(suite(tmp_path, LONG)))
    wait_for_a_checkpoint(tmp_path, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: python" in error
    assert "Traceback" not in error
    assert not list((tmp_path / "results").glob("runs/*/claim.json"))
    assert not list((tmp_path / "results").glob("runs/*/failure.json"))


def test_a_method_that_diverges_fails_alone_is_recorded_and_tried_again(tmp_path):
    # A learning rate that no loss survives; the teacher has one of its own.
    text = SUITE.replace("lr: 0.05", "lr: 1.0e+30") + "teacher: {recipe: {lr: 0.05, epochs: 1}}"
    path = suite(tmp_path, text)
    done = call(tmp_path, "run", str(path), "--only", "method=kd")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    [failure_path] = (tmp_path / "results").glob("runs/*/failure.json")
    failure = json.loads(failure_path.read_text())
    assert failure["kind"] == "non-finite"
    assert "'ce'" in failure["message"]
    assert failure["message"] in " ".join(done.stdout.split())
    assert "0/1" in (tmp_path / "results" / "tables" / "small.md").read_text()
    assert call(tmp_path, "run", str(path), "--only", "method=kd").returncode == 1
    assert json.loads(failure_path.read_text())["when"] > failure["when"]


def test_only_runs_the_chosen_cells_and_the_teacher_they_need(tmp_path):
    changes = ("--only", "method=kd", "--set", "recipe.epochs=1")
    done = call(tmp_path, "run", str(suite(tmp_path)), *changes)
    assert done.returncode == 0, done.stderr
    made = [
        (r["config"]["student"], r["config"]["method"]["name"]) for r in records(tmp_path).values()
    ]
    assert sorted(made) == [("resnet14", "scratch"), ("resnet8", "kd")]
    # What was changed on the command line does not overwrite the suite's own table.
    assert [p.name for p in (tmp_path / "results" / "tables").glob("*.md")] == [
        f"{suite_name(Path('small.yaml'), ['recipe.epochs=1'])}.md"
    ]


def scratch_runs(tmp_path: Path) -> list[str]:
    [manifest] = (tmp_path / "results" / "suites").glob("*.json")
    cells = json.loads(manifest.read_text())["cells"]
    return [cell["run"] for cell in cells if cell["method"] == "scratch"]


def test_a_job_that_dies_without_a_word_leaves_its_runs_failed_not_done(tmp_path):
    path = str(suite(tmp_path, LONG))
    call(tmp_path, "plan", path)
    [run_id] = scratch_runs(tmp_path)
    # What an earlier attempt died of is not what this one dies of.
    Store(tmp_path / "results").run(run_id).path.mkdir(parents=True)
    Store(tmp_path / "results").run(run_id).write_failure("error", "long ago")
    process = start(tmp_path, "run", path, "--only", "method=scratch")
    wait_for_a_checkpoint(tmp_path, process)
    [job] = (pid for pid in children(process) if os.getsid(pid) == pid)
    os.kill(job, signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the job ended (signal 9)" in out
    [failure] = (tmp_path / "results").glob("runs/*/failure.json")
    assert json.loads(failure.read_text())["kind"] == "died"
    assert not records(tmp_path)


def test_a_teacher_that_scores_otherwise_than_its_record_says_teaches_nobody(finished, tmp_path):
    import shutil

    shutil.copytree(finished / "results", tmp_path / "results")
    made = records(tmp_path)
    [kd] = [r for r in made.values() if r["config"]["method"]["name"] == "kd"]
    teacher = made[kd["teacher"]["id"]]
    teacher["result"]["top1"] += 5 if teacher["result"]["top1"] < 90 else -5
    path = tmp_path / "results" / "runs" / teacher["id"] / "record.json"
    path.write_text(json.dumps(teacher))
    (tmp_path / "results" / "runs" / kd["id"] / "record.json").unlink()
    done = call(tmp_path, "run", str(suite(tmp_path)))
    assert done.returncode == 1
    assert f"and its record says {teacher['result']['top1']:.2f}" in " ".join(done.stdout.split())
    assert kd["id"] not in records(tmp_path)


def test_a_damaged_teacher_is_reported_and_no_student_is_trained(finished, tmp_path):
    import shutil

    shutil.copytree(finished / "results", tmp_path / "results")
    made = records(tmp_path)
    [kd] = [r for r in made.values() if r["config"]["method"]["name"] == "kd"]
    weights = tmp_path / "results" / "runs" / kd["teacher"]["id"] / "student.pt"
    content = bytearray(weights.read_bytes())
    content[5000] ^= 1
    weights.write_bytes(content)
    (tmp_path / "results" / "runs" / kd["id"] / "record.json").unlink()
    done = call(tmp_path, "run", str(suite(tmp_path)))
    assert done.returncode == 1
    assert "student.pt: is not the file that its record describes" in " ".join(done.stdout.split())
    assert kd["id"] not in records(tmp_path)
    assert len(records(tmp_path)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quickstrat"], "no such file. Did you mean 'quickstart.yaml'?"),
        (["run", "--machine", "lokal"], "no such file. Did you mean 'local.yaml'?"),
        (["plan", "--set", "methods.kd.temprature=2"], "Did you mean 'temperature'?"),
        (["plan", "--set", "recipe.epochs=two"], "expected a whole number, got 'two'"),
        (["plan", "--set", "recipe.epochs"], "expected KEY=VALUE"),
        (["plan", "--only", "method=kdd"], "no such method. Did you mean 'kd'?"),
        (["plan", "--only", "metod=kd"], "no such key. Did you mean 'method'?"),
    ],
)
def test_a_users_mistake_is_one_clear_message_and_exit_code_2(tmp_path, arguments, message):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "results").glob("runs/*"))


def test_a_results_folder_that_cannot_be_written_is_one_clear_message(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    done = call(tmp_path, "run", str(suite(tmp_path)))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "results" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a few checkpoints."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_reported_and_the_same_command_continues(finished, tmp_path, tiny_disk):
    (tiny_disk / "ballast").write_bytes(bytes(200_000))
    full = ("run", str(suite(tmp_path)), "--only", "method=scratch")
    done = call(tiny_disk, *full)
    assert done.returncode in (1, 2)
    assert "no room left to write" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not records(tiny_disk)
    (tiny_disk / "ballast").unlink()
    mount = ["mount", "-o", "remount,size=20m", str(tiny_disk)]
    subprocess.run(mount, check=True)
    assert call(tiny_disk, *full).returncode == 0
    [(run_id, record)] = records(tiny_disk).items()
    assert numbers(record) == numbers(records(finished)[run_id])


def test_a_missing_data_set_is_reported_before_anything_is_trained(tmp_path):
    # A damaged file stands for all that can be wrong: a missing one would be downloaded.
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    (tmp_path / "data" / "cifar-100-python" / "train").write_text("not the official file")
    path = suite(tmp_path, SUITE.replace("digits, limit: 64", "cifar100"))
    done = call(tmp_path, "run", str(path), "--data-root", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "cifar-100-python/train is damaged: its md5 is" in " ".join(done.stderr.split())
    assert not list((tmp_path / "results").glob("runs/*/record.json"))
