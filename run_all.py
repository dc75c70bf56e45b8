#!/usr/bin/env python3
"""Run a suite: `python run_all.py --help`."""

import sys

if __name__ == "__main__":
    try:  # Ctrl-C may come while this imports, too
        from benchmark.cli.main import main

        status = main(sys.argv[1:])
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
