"""A short run of `torture.py`. Run the long one if you change what is written when."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in Linux's /proc")
def test_a_suite_killed_twenty_times_ends_as_if_nothing_had_happened():
    words = [
        sys.executable,
        str(ROOT / "tests" / "whole" / "torture.py"),
        "--kills",
        "20",
        "--seed",
        "5",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills" in done.stdout.splitlines()[-1]
    assert "all records and weights as undisturbed" in done.stdout
