"""Exit codes: 0 all done, 1 some runs failed, 2 a mistake of the user, 130 interrupted.

Those of `run`, which need whole processes, are tested in tests/whole/test_command.py.
"""

import argparse
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli import console, main
from benchmark.cli.options import parse_options
from benchmark.launch.slurm_queue import ArrayTask
from benchmark.launch.submissions import Submission
from benchmark.store.folder import Store

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
Call = Callable[..., int]


@pytest.fixture
def call(finished: Path, tmp_path: Path) -> Call:
    """A function that runs a command on a copy of the finished suite, in this process."""
    shutil.copytree(finished / "results", tmp_path / "results")

    def call_verb(verb: str, *more: str, suite: str | None = str(finished / "small.yaml")) -> int:
        words = [verb, *([suite] if suite else []), *more]
        return main.main([*words, "--results", str(tmp_path / "results")])

    return call_verb


def kd(tmp_path: Path) -> str:
    """Return the id of the run of kd."""
    return next(path.parent.name for path in tmp_path.glob("results/runs/*-kd-*/record.json"))


def delete_record(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "results" / "runs" / run_id / "record.json").unlink()


@pytest.mark.parametrize("verb", ["plan", "status", "cancel"])
def test_0_when_all_is_done(verb: str, call: Call):
    assert call(verb) == 0


def test_plan_returns_0_with_failed_runs(call: Call, tmp_path: Path):
    run_id = kd(tmp_path)
    delete_record(tmp_path, run_id)
    Store(tmp_path / "results").run(run_id).write_failure("error", "a bad day")
    assert call("plan") == 0


def test_status_returns_0_with_runs_to_do(call: Call, tmp_path: Path):
    delete_record(tmp_path, kd(tmp_path))
    assert call("status") == 0


def test_status_returns_1_with_a_failed_run_and_its_reason(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run_id = kd(tmp_path)
    delete_record(tmp_path, run_id)
    Store(tmp_path / "results").run(run_id).write_failure("error", "a bad day")
    assert call("status") == 1
    assert f"failed: {run_id}: a bad day" in capsys.readouterr().out


def test_status_returns_1_with_a_lost_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_id = kd(tmp_path)
    delete_record(tmp_path, run_id)
    task = ArrayTask("7_0", "jobs/1.json", "jobs/1.log", [run_id])
    submission = Submission("small", "0", "me@here", "2026-01-01", [task])
    submission.write(tmp_path / "results" / "submissions" / "1.json")
    # The queue answers and does not have the job.
    monkeypatch.setattr("benchmark.launch.slurm_queue.run_slurm_command", lambda *command: "")
    assert call("status") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["run", "no-such-suite"],
        ["plan", "--machine", "no-such-machine"],
        ["status", "quickstart", "--set", "recipe.epochs"],
        ["logs", "no-such-run"],
        ["report", "no-such-suite"],
        ["models", "no-such-network"],
        ["methods", "no-such-method"],
    ],
    ids=lambda words: words[0],
)
def test_a_mistake_returns_2_with_one_message_on_standard_error(
    words: list[str], call: Call, capsys: pytest.CaptureFixture[str]
):
    about_results = words[0] not in ("models", "methods")
    verb, *more = words
    code = call(verb, *more, suite=None) if about_results else main.main(words)
    assert code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_unknown_flag_returns_2(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main.main(["plan", "--no-such-flag"])


@pytest.mark.parametrize("verb", sorted(main.VERBS))
def test_every_interrupted_verb_returns_130(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "load_command", lambda verb: interrupted)
    options = argparse.Namespace(verb=verb)
    monkeypatch.setattr(main, "parse_command_line", lambda arguments: options)
    assert main.main([verb]) == 130
    assert "To go on: python" in capsys.readouterr().err


def test_the_docs_and_the_help_list_the_exit_codes(capsys: pytest.CaptureFixture[str]):
    codes = {console.DONE, console.SOME_FAILED, console.USERS_MISTAKE, console.INTERRUPTED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.M)} == codes
    with pytest.raises(SystemExit, match="0"):
        parse_options(["--help"], {"run": "train"})
    assert "0 all done, 1 some runs failed, 2 a mistake" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize("flag", ["--no-timing", "--no-calibration"])
def test_timing_is_switched_off_by_its_flag_and_by_the_former_name(flag: str):
    assert main.parse_command_line(["plan"]).timing
    assert not main.parse_command_line(["plan", flag]).timing


def test_the_help_does_not_list_the_former_name(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main.parse_command_line(["plan", "--help"])
    help_text = capsys.readouterr().out
    assert "--no-timing" in help_text
    assert "calibration" not in help_text
