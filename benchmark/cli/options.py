"""The flags of every verb."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

SUITES = (Path(__file__).parents[1] / "suite" / "files").resolve()
"""The folder of the suites: `configs/` of a checkout, a folder of an installed package."""
MACHINES = SUITES / "machines"
_CHECKOUT = Path(__file__).resolve().parents[2]
HOME = _CHECKOUT if _CHECKOUT / "configs" == SUITES else Path.cwd()
"""The folder of results and data: the checkout, or the current folder if installed elsewhere."""
DEFAULT_RESULTS = HOME / "results"
DATA_VARIABLE = "KD_DATA"
DEFAULT_DATA_ROOT = HOME / "data"


def parse_options(arguments: Sequence[str], verbs: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line; ``verbs`` maps each verb to its help text.

    If the first argument is not a verb, the verb is `run`.
    """
    words = list(arguments)
    if not words or words[0] not in {*verbs, "-h", "--help"}:
        words.insert(0, "run")
    parser = argparse.ArgumentParser(
        prog="run_all.py",
        description="Train and compare knowledge-distillation methods. A suite (a file in "
        "configs/) lists the methods, teacher-student pairs and seeds.",
        epilog="To begin: `run_all.py plan quickstart`, then `run_all.py run quickstart`. "
        "`run_all.py VERB --help` lists the flags of a verb. Without a verb: run. Exit codes: "
        "0 all done, 1 some runs failed, 2 a mistake in the command or its files, 130 interrupted.",
    )
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in verbs.items():
        add_options(parsers.add_parser(verb, help=text, description=text), verb)
    return parser.parse_args(words)


def add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the flags of a verb."""
    adders = {
        "run": add_run_options,
        "plan": add_plan_options,
        "report": add_report_options,
        "logs": add_logs_options,
        "show": add_show_options,
        "methods": add_methods_options,
        "teachers": add_teachers_options,
        "data": add_dataset_options,
        "models": add_models_options,
        "speed": add_speed_options,
        "reference": add_no_options,
    }
    adders.get(verb, add_suite_options)(parser)


def add_no_options(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the verb takes no flags."""


# ---------------------------------------------------------------- verbs about a suite


def add_run_options(parser: argparse.ArgumentParser) -> None:
    add_suite_options(parser)
    add_only_option(parser)
    parser.add_argument(
        "--machine",
        default="local",
        metavar="NAME",
        help="where to run: a name in configs/machines/ or a path (default: local)",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="on a cluster: wait until no job is queued or running, then write the report; "
        "without it, submit the jobs and return",
    )


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    add_suite_options(parser)
    add_only_option(parser)
    parser.add_argument(
        "--machine",
        metavar="NAME",
        help="also estimate the jobs, hours and disk space of `run --machine`: a name in "
        "configs/machines/ or a path",
    )
    parser.add_argument(
        "--no-timing",
        dest="timing",
        action="store_false",
        help="with --machine: estimate from earlier records only; without it, runs that have none "
        "are timed for a few steps (about a minute)",
    )
    # The flag's former name; in this project calibration is a property of predictions.
    parser.add_argument(
        "--no-calibration", dest="timing", action="store_false", help=argparse.SUPPRESS
    )


def add_report_options(parser: argparse.ArgumentParser) -> None:
    add_suite_options(parser)
    parser.add_argument(
        "--html",
        action="store_true",
        help="also write results/tables/SUITE.html, a single page to open in a browser",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write every run's history for `tensorboard --logdir results/tensorboard`; "
        "needs the extra `tensorboard`",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="keep the report up to date until no run is left to do, or until Ctrl-C",
    )


def add_suite_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose a suite and its folders."""
    parser.add_argument(
        "suite",
        nargs="?",
        default="quickstart",
        help="the suite: a name in configs/ or a path (default: quickstart)",
    )
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the suite, for example recipe.epochs=2; may be repeated",
    )
    add_plugin_option(parser)
    add_results_option(parser)
    add_data_option(parser)


def add_only_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        default="",
        metavar="KEY=VALUE,...",
        help="do only some of the runs, for example method=ab,seed=0; keys: method, seed, student, "
        "teacher, dataset",
    )


# ---------------------------------------------------------------- other verbs


def add_logs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's id, or the start of one that is unique")
    parser.add_argument(
        "--lines", type=int, default=40, metavar="N", help="how many to print (default: 40)"
    )
    add_results_option(parser)


def add_show_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's id, or the start of one that is unique")
    add_results_option(parser)


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
        type=float,
        metavar="PERCENT",
        help="its published test top-1; need not be given for the CRD benchmark's teachers",
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
