"""The command, where no script is on the path: `python -m benchmark plan quickstart`."""

import sys

from benchmark.cli.main import run_command_line

if __name__ == "__main__":
    sys.exit(run_command_line())
