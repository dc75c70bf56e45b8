"""Nothing about the terminal costs a command its work."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.cli.console import make_console
from tests.cli.command import ROOT, command, suite

SCRIPT = """
from benchmark.cli.main import main

print("exit code", main({words}))
"""


def report(finished: Path, results: Path, stream: io.TextIOWrapper) -> int:
    """Write the report of the finished suite with ``stream`` as standard output."""
    shutil.copytree(finished / "results", results)
    shutil.rmtree(results / "tables", ignore_errors=True)
    words = ["report", str(finished / "small.yaml"), "--results", str(results)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        return main.main(words)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_output_that_is_not_utf_8_costs_no_report(encoding: str, finished: Path, tmp_path: Path):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert report(finished, tmp_path / "results", stream) == 0
    assert (tmp_path / "results" / "tables" / "small.md").exists()
    assert b"top-1" in stream.detach().getvalue()


def test_a_full_disk_for_the_output_costs_no_report_and_is_said(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        assert report(finished, tmp_path / "results", stream) == 2
    assert (tmp_path / "results" / "tables" / "small.md").exists()
    assert "error: output was lost: no room left to write" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["0", "1", "abc", "-5", "", "100000"])
@pytest.mark.parametrize("terminal", ["dumb", "xterm", ""])
def test_a_terminal_of_any_width_is_printed_to(
    columns: str, terminal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, columns)
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what is captured counts as a terminal
    assert make_console().width >= 20
    assert main.main(["models", "resnet8"]) == 0
    assert "resnet8" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main.main(["run", "--help"])


def test_markup_in_a_title_or_a_path_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]):
    make_console().print("a [/b] [red]x :smile: [final]")
    assert capsys.readouterr().out.strip() == "a [/b] [red]x :smile: [final]"


def test_main_can_be_called_in_a_script_without_a_guard(tmp_path: Path):
    path = suite(tmp_path)
    script = tmp_path / "script.py"
    words = ["plan", str(path), "--results", str(tmp_path / "results")]
    script.write_text(SCRIPT.format(words=words))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.count("exit code") == 1
    assert done.stdout.endswith("exit code 0\n")


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class Hook:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Hook)
sys.argv = {words}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["benchmark.cli.main", "benchmark.cli.options", "rich.console"])
def test_ctrl_c_while_the_command_imports_is_no_traceback(name: str, tmp_path: Path):
    words = command(tmp_path, "plan", str(suite(tmp_path)))[1:]
    program = INTERRUPTED_IMPORT.format(name=name, words=words)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_ctrl_c_that_meets_a_child_half_started_is_no_traceback(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if any('spawn_main' in word for word in sys.orig_argv):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(
        command(tmp_path, "plan", str(suite(tmp_path))),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: a process of this command was killed from outside")
    assert "signal 2" in done.stderr
