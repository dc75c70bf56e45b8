"""0 all done, 1 some runs failed, 2 the user's mistake, 130 interrupted: what scripts rely on.

What whole processes return is in test_cli.py: a `run` 0, 1 after a failure, 130 after a signal.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli import console, main
from benchmark.cli.options import options_of
from benchmark.launch.slurm_queue import Task
from benchmark.launch.submissions import Submission
from benchmark.store.folder import Store

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
Call = Callable[..., int]


@pytest.fixture
def call(finished: Path, tmp_path: Path) -> Call:
    """Give a command about a copy of the finished suite, in this process."""
    shutil.copytree(finished / "results", tmp_path / "results")

    def given(verb: str, *more: str, suite: str | None = str(finished / "small.yaml")) -> int:
        words = [verb, *([suite] if suite else []), *more]
        return main.main([*words, "--results", str(tmp_path / "results")])

    return given


def kd(tmp_path: Path) -> str:
    """The run of that method."""
    return next(path.parent.name for path in tmp_path.glob("results/runs/*-kd-*/record.json"))


def open_again(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "results" / "runs" / run_id / "record.json").unlink()


@pytest.mark.parametrize("verb", ["plan", "status", "cancel"])
def test_0_where_all_is_done(verb: str, call: Call):
    assert call(verb) == 0


def test_0_of_a_plan_whatever_there_is_to_do(call: Call, tmp_path: Path):
    run_id = kd(tmp_path)
    open_again(tmp_path, run_id)
    Store(tmp_path / "results").run(run_id).write_failure("error", "a bad day")
    assert call("plan") == 0


def test_0_of_a_status_with_runs_that_are_still_to_do(call: Call, tmp_path: Path):
    open_again(tmp_path, kd(tmp_path))
    assert call("status") == 0


def test_1_of_a_status_with_a_run_that_failed_which_says_why(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run_id = kd(tmp_path)
    open_again(tmp_path, run_id)
    Store(tmp_path / "results").run(run_id).write_failure("error", "a bad day")
    assert call("status") == 1
    assert f"failed: {run_id}: a bad day" in capsys.readouterr().out


def test_1_of_a_status_with_a_run_that_is_lost(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_id = kd(tmp_path)
    open_again(tmp_path, run_id)
    task = Task("7_0", "jobs/1.json", "jobs/1.log", [run_id])
    submission = Submission("small", "0", "me@here", "2026-01-01", [task])
    submission.write(tmp_path / "results" / "submissions" / "1.json")
    # A queue that answers, and has forgotten the job.
    monkeypatch.setattr("benchmark.launch.slurm_queue.told", lambda *command: "")
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
def test_2_for_a_mistake_with_one_message_on_standard_error(
    words: list[str], call: Call, capsys: pytest.CaptureFixture[str]
):
    about_results = words[0] not in ("models", "methods")
    verb, *more = words
    code = call(verb, *more, suite=None) if about_results else main.main(words)
    assert code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_2_for_words_that_the_command_line_does_not_know(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main.main(["plan", "--no-such-flag"])


@pytest.mark.parametrize("verb", sorted(main.VERBS))
def test_130_of_every_verb_that_is_interrupted(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "command_of", lambda verb: interrupted)
    monkeypatch.setattr(main, "parse", lambda words: type("Options", (), {"verb": verb}))
    assert main.main([verb]) == 130
    assert "To go on: python" in capsys.readouterr().err


def test_the_page_and_the_help_name_the_codes_that_there_are(capsys: pytest.CaptureFixture[str]):
    ours = {console.DONE, console.SOME_FAILED, console.USERS_MISTAKE, console.INTERRUPTED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.M)} == ours
    with pytest.raises(SystemExit, match="0"):
        options_of(["--help"], {"run": "train"})
    assert "0 all done, 1 some runs failed, 2 a mistake" in " ".join(
        capsys.readouterr().out.split()
    )
