"""The flags of the verbs that are not about a suite: runs, methods, networks, data, speed."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Literal

from benchmark.cli.shared_options import add_data_option, add_plugin_option, add_results_option


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's id, or the start of one that is unique")


def add_logs_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument(
        "--lines", type=int, default=40, metavar="N", help="how many to print (default: 40)"
    )
    add_results_option(parser)


def add_one_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `show` and `remove`."""
    add_run_argument(parser)
    add_results_option(parser)


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    for name, text in (("A", "one results folder"), ("B", "the other")):
        parser.add_argument(f"results_{name.lower()}", type=Path, metavar=name, help=text)
    parser.add_argument(
        "suite",
        nargs="?",
        help="only the runs of this suite, a name in configs/ or a path (default: all)",
    )
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a change of the suite with which it was run; may be repeated",
    )


def add_methods_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="METHOD", help="list only these, for example ab@crd or at+kd"
    )
    parser.add_argument(
        "--pair",
        metavar="TEACHER:STUDENT",
        help="check for each method whether it can distil this teacher into this student",
    )
    parser.add_argument(
        "--dataset", default="cifar100", help="sets image size and classes (default: cifar100)"
    )
    add_data_option(parser)
    add_plugin_option(parser)


def published_number(text: str) -> float | Literal["none"]:
    """Parse `--published`: an accuracy in percent, or none."""
    if text == "none":
        return "none"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 100, or none; got {text}")
    return number


def add_teachers_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["import"], help="import: take a checkpoint in")
    parser.add_argument("file", type=Path, metavar="FILE", help="the checkpoint file")
    parser.add_argument(
        "--as", dest="network", required=True, metavar="NETWORK", help="the network of the weights"
    )
    parser.add_argument(
        "--dataset", default="cifar100", help="what it was trained on (default: cifar100)"
    )
    parser.add_argument(
        "--published",
        type=published_number,
        metavar="PERCENT",
        help="its published test top-1, or none (default: that of the CRD benchmark's network of "
        "this name, if it has one); given again, it corrects an earlier one",
    )
    parser.add_argument(
        "--weights",
        metavar="KEY",
        help="which weights of the file, if it has several that fit, as model_ema",
    )
    add_results_option(parser)
    add_data_option(parser)


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=["status", "prepare"],
        default="status",
        help="status (the default): show what is there; prepare: download, check and decode",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets (status: default all)")
    add_data_option(parser)


def add_models_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="list only these networks")
    parser.add_argument(
        "--shapes",
        metavar="NAME",
        help="show one network in detail: shapes of stem, stages and embedding; FLOPs",
    )
    parser.add_argument(
        "--dataset", default="cifar100", help="sets image size and classes (default: cifar100)"
    )
    add_data_option(parser)


def add_speed_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the measurement of speed."""
    parser.add_argument(
        "--pair",
        dest="pairs",
        action="append",
        default=[],
        metavar="TEACHER:STUDENT",
        help="which networks; may be given again (default: four pairs of the CRD benchmark)",
    )
    parser.add_argument(
        "--methods",
        default="kd,fitnets,at,fsp,ab",
        metavar="METHOD,...",
        help="which, as in kd,ab@crd (default: kd,fitnets,at,fsp,ab)",
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="(default: 64)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=150,
        metavar="S",
        help="no round begins later, but each pair has two (default: 150)",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="(default: auto)"
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="write to FILE.json and FILE.md after each part, and measure only what is not there "
        "yet (default: new files in results/speed)",
    )
    parser.add_argument(
        "--suite",
        help="time steps of a suite's runs instead, and say what all of it would take here; a "
        "name in configs/ or a path",
    )
    parser.set_defaults(changes=[], plugins=[])
    add_results_option(parser)
    add_data_option(parser)


def add_no_options(parser: argparse.ArgumentParser) -> None:
    """Add no flag."""


ADDERS = {
    "logs": add_logs_options,
    "show": add_one_run_options,
    "remove": add_one_run_options,
    "compare": add_compare_options,
    "methods": add_methods_options,
    "teachers": add_teachers_options,
    "data": add_dataset_options,
    "models": add_models_options,
    "speed": add_speed_options,
    "suites": add_no_options,
    "reference": add_no_options,
}
"""The function that adds a verb's flags."""
