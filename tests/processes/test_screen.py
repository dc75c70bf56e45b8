"""Whatever standard output is, printing does not raise, and the work is done."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.processes.screen import Screen, tolerant_output

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from benchmark.processes.screen import tolerant_output
with tolerant_output() as screen:
    for _ in range(20000):
        print("1.0 ± 0.2 – 本")
    print("warned – 本", file=sys.stderr)
with open("done", "w") as file:
    file.write(str(screen.lost and screen.lost.errno))
"""
"""It prints more than a pipe holds."""


def printed(folder: Path, redirection: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a shell, with its output somewhere else."""
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} program.py {redirection}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "lost"),
    [
        ("| head -1", None),
        ("2>&1 | head -1", None),
        (">/dev/full", errno.ENOSPC),
        (">&-", None),
        (">&- 2>&- <&-", None),
        ("2>/dev/full", None),
    ],
)
def test_a_closed_or_full_output_is_no_error_of_the_program(
    redirection: str, lost: int | None, tmp_path: Path
):
    done = printed(tmp_path, f"{redirection}")
    assert done.returncode == 0
    assert b"rror" not in done.stderr  # no traceback, no "Exception ignored"
    assert (tmp_path / "done").read_text() == str(lost)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "ascii:strict"])
def test_characters_that_the_output_lacks_become_others(encoding: str, tmp_path: Path):
    done = printed(tmp_path, "", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    line = done.stdout.splitlines()[0].decode(encoding.partition(":")[0])
    signs = {"latin-1": "1.0 ± 0.2 - ?", "cp1252": "1.0 ± 0.2 – ?"}
    assert line == signs.get(encoding, "1.0 +- 0.2 - ?")


def test_a_locale_without_utf_8_is_no_error(tmp_path: Path):
    done = printed(tmp_path, "", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0
    assert done.stdout.startswith(b"1.0 +- 0.2 - ?")


def test_a_stream_that_was_closed_takes_no_more_and_does_not_raise():
    stream = io.StringIO()
    screen = Screen(stream)
    stream.close()
    screen.write("a")
    screen.writelines(["b"])
    screen.flush()
    assert screen.lost is None


def test_the_streams_are_those_of_before_after_the_block(capsys: pytest.CaptureFixture[str]):
    before = sys.stdout, sys.stderr
    with tolerant_output():
        print("seen")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "seen\n"
