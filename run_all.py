#!/usr/bin/env python3
"""Run a suite: `python run_all.py --help`."""

import sys

from benchmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
