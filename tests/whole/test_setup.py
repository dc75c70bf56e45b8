"""A new user's first commands on a cluster are what CI sets itself up by."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_ci_takes_its_set_up_from_the_page():
    script = (ROOT / ".ci" / "run").read_text()
    [command] = re.findall(r"^setup=\$\((.+)\)\nstep eval \"\$setup\"$", script, re.MULTILINE)
    taken = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert taken == BLOCKS[0]


def test_what_the_page_asks_for_beside_its_set_up_is_the_command():
    # Which tests/slurm gives, line by line.
    later = [line for block in BLOCKS[1:] for line in block.splitlines()]
    assert later
    assert not [line for line in later if not line.startswith("python run_all.py ")]


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="of CI's own environment")
def test_in_ci_tests_run_in_the_environment_that_the_page_makes():
    [name] = re.findall(r"-m venv (\S+)$", BLOCKS[0], re.MULTILINE)
    assert Path(sys.prefix) == ROOT / name
