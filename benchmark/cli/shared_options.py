"""The default folders, and the flags that most verbs have."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_IS_CHECKOUT = (_CHECKOUT / "run_all.py").is_file() and (_CHECKOUT / "configs").is_dir()
# The package's folder is a link to `configs/`, of which a copy of a checkout may make another copy.
SUITES = _CHECKOUT / "configs" if _IS_CHECKOUT else Path(__file__).parents[1] / "suite" / "files"
"""The folder of the suites: `configs/` of a checkout, a folder of an installed package."""
MACHINES = SUITES / "machines"
HOME = _CHECKOUT if _IS_CHECKOUT else Path.cwd()
"""The folder of results and data: the checkout, or the current folder if installed elsewhere."""
DEFAULT_RESULTS = HOME / "results"
DATA_VARIABLE = "KD_DATA"
DEFAULT_DATA_ROOT = HOME / "data"


def add_results_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        default=DEFAULT_RESULTS,
        help="the folder for records and tables (default: results/ of the checkout, else of "
        "the current folder)",
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        default=Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA_ROOT)),
        help="the folder of the data sets (default: $KD_DATA, else data/ of the checkout, else "
        "of the current folder)",
    )


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        dest="plugins",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file with a method of your own; may be repeated",
    )
