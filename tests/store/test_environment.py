"""The environment in a record, and the digest of the code, are true."""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from benchmark.store import environment
from benchmark.store.environment import PLANNING_FOLDERS
from tests.whole.test_rooms import BENCHMARK, ORDER, loaded_with, room_of


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    run = subprocess.run(
        ["git", "-C", root, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return run.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A commit with two packages in it."""
    for name in ("benchmark/report/tables.py", "benchmark/training/cohort.py", "methods/kd.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_the_environment_is_plain_json_without_torch_being_imported() -> None:
    code = (
        "import json, sys; from benchmark.store.environment import describe_environment;"
        "print(json.dumps(describe_environment('cpu', 3))); assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    said = json.loads(run.stdout)
    assert list(said) == [
        *("commit", "dirty", "python", "torch", "torchvision", "numpy"),
        *("platform", "cpu", "device", "threads", "host"),
    ]
    assert said["torch"] == metadata.version("torch")
    assert (said["device"], said["threads"], said["host"]) == ("cpu", 3, os.uname().nodename)
    assert said["cpu"]


def test_the_commit_is_named_and_changed_code_makes_it_dirty(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert environment._checkout(checkout) == (commit, False)
    (checkout / "results.md").write_text("a table")
    assert environment._checkout(checkout) == (commit, False)
    (checkout / "methods/new.py").write_text("# not yet added\n")
    assert environment._checkout(checkout) == (commit, True)


def test_the_commit_is_right_within_a_git_hook(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert environment._checkout(checkout) == (commit, False)


def test_code_installed_into_somebody_elses_repository_has_no_commit(checkout: Path) -> None:
    assert environment._checkout(checkout / "methods") == (None, None)


def test_code_outside_a_repository_has_no_commit(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert environment._checkout(checkout) == (None, None)


def test_a_machine_without_git_has_no_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert environment._checkout(checkout) == (None, None)


@pytest.mark.parametrize("folder", PLANNING_FOLDERS)
def test_the_digest_follows_the_code_of_each_planning_folder(checkout: Path, folder: str) -> None:
    before = environment.source_digest(checkout)
    path = checkout / folder / "deep/added.py"
    path.parent.mkdir(parents=True)
    path.write_text("# new\n")
    added = environment.source_digest(checkout)
    path.write_text("# other\n")
    changed = environment.source_digest(checkout)
    path.rename(path.with_name("renamed.py"))
    assert len({before, added, changed, environment.source_digest(checkout)}) == 4


@pytest.mark.parametrize("room", sorted({*ORDER} - {Path(name).name for name in PLANNING_FOLDERS}))
def test_no_other_room_changes_the_digest(checkout: Path, room: str) -> None:
    before = environment.source_digest(checkout)
    path = checkout / "benchmark" / room / "tables.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# other\n")
    (checkout / "methods/notes.md").write_text("other")
    assert environment.source_digest(checkout) == before


def test_the_planning_folders_are_the_rooms_that_planning_imports() -> None:
    cannot_change_a_plan = {"processes", "store", "evaluation"}
    imported = loaded_with("benchmark.suite.grid", at_import=False) & set(BENCHMARK)
    named = {Path(name).name for name in PLANNING_FOLDERS if name.startswith("benchmark/")}
    assert {room_of(module) for module in imported} - cannot_change_a_plan == named


def test_peak_memory_is_what_this_process_held_and_not_its_parent() -> None:
    code = (
        "import sys; sys.modules['torch'] = type(sys)('torch');"  # torch alone takes 200 MiB
        "from benchmark.training.meters import peak_memory_mb as peak; before = peak();"
        "held = b'x' * 100 * 2**20; del held; print(before, peak())"
    )
    ballast = b"x" * 200 * 2**20
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = map(float, run.stdout.split())
    del ballast
    assert before < 60
    assert 100 < after < 200
