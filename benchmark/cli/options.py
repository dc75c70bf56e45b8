"""The flags of every verb: which suite, where, and what to do with it; never what a method is."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def options_of(arguments: Sequence[str], verbs: Mapping[str, str]) -> argparse.Namespace:
    """Read the command line by the verbs and what each does. Without a verb, the verb is run."""
    words = list(arguments)
    if not words or words[0] not in {*verbs, "-h", "--help"}:
        words.insert(0, "run")
    parser = argparse.ArgumentParser(
        prog="run_all.py",
        description="Train and compare knowledge-distillation methods over a suite's grid.",
        epilog="Without a verb: run. Exit codes: 0 all done, 1 some runs failed, 2 a mistake in "
        "what was asked for, 130 interrupted.",
    )
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in verbs.items():
        add_options(parsers.add_parser(verb, help=text, description=text), verb)
    return parser.parse_args(words)


def add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add a verb's flags: its own, or those of verbs about a suite."""
    of_their_own = {
        "methods": add_catalogue_options,
        "teachers": add_teacher_options,
        "data": add_data_set_options,
        "models": add_zoo_options,
        "logs": add_log_options,
        "show": add_show_options,
        "speed": add_speed_options,
    }
    if verb in of_their_own:
        of_their_own[verb](parser)
        return
    add_suite_options(parser)
    if verb in ("run", "plan"):
        add_choice_option(parser)
    if verb == "run":
        add_machine_options(parser)
    if verb == "plan":
        add_forecast_options(parser)
    if verb == "report":
        add_report_options(parser)


def add_suite_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which suite, and where its things are."""
    parser.add_argument(
        "suite",
        nargs="?",
        default="quickstart",
        help="a name in configs/ or a path (default: quickstart)",
    )
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the suite, as in recipe.epochs=2 or dataset.limit=2000; may be given again",
    )
    add_plugin_option(parser)
    add_results_option(parser)
    add_data_option(parser)


def add_choice_option(parser: argparse.ArgumentParser) -> None:
    """Add the flag that chooses cells."""
    parser.add_argument(
        "--only",
        default="",
        metavar="KEY=VALUE,...",
        help="only these cells, as in method=ab,seed=0; keys: method, seed, student, teacher, "
        "dataset",
    )


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where to run."""
    parser.add_argument(
        "--machine",
        default="local",
        help="a name in configs/machines/ or a path (default: local)",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="on a cluster: follow the jobs until none is queued or running, then report; "
        "without it, submit and return",
    )


def add_forecast_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say for which machine to estimate."""
    parser.add_argument(
        "--machine",
        help="say what `run --machine` would come to: jobs, hours, disk; a name in "
        "configs/machines/ or a path",
    )
    parser.add_argument(
        "--no-calibration",
        dest="calibrate",
        action="store_false",
        help="with --machine: estimate from records alone, without timing steps of what has none "
        "(which takes about a minute)",
    )


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the report."""
    parser.add_argument(
        "--html",
        action="store_true",
        help="write the page too: results/tables/SUITE.html, one file to open in a browser",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write every run's history too, for `tensorboard --logdir results/tensorboard`; needs "
        "the extra `tensorboard`",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="keep all up to date while the grid runs, until no run is left or Ctrl-C",
    )


def add_show_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a run's account."""
    parser.add_argument("run", metavar="RUN", help="a run's id, or a beginning that no other has")
    add_results_option(parser)


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a run's log."""
    parser.add_argument("run", metavar="RUN", help="a run's id, or a beginning that no other has")
    parser.add_argument(
        "--lines", type=int, default=40, metavar="N", help="how many of the last (default: 40)"
    )
    add_results_option(parser)


def add_results_option(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the results folder."""
    parser.add_argument(
        "--results", type=Path, default=ROOT / "results", help="where records and tables go"
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the data."""
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("KD_DATA", ROOT / "data")),
        help="where data sets lie (default: $KD_DATA, else data/ beside run_all.py)",
    )


def add_teacher_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of teachers from elsewhere."""
    parser.add_argument("action", choices=["import"], help="import: take a checkpoint in")
    parser.add_argument("file", type=Path, metavar="FILE", help="the checkpoint")
    parser.add_argument(
        "--as", dest="network", required=True, metavar="NETWORK", help="whose weights these are"
    )
    parser.add_argument("--dataset", default="cifar100", help="(default: cifar100)")
    parser.add_argument(
        "--published",
        type=float,
        metavar="PERCENT",
        help="the test top-1 that it is said to have; for the CRD benchmark's it is known",
    )
    add_results_option(parser)
    add_data_option(parser)


def add_data_set_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the data sets."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=["status", "prepare"],
        default="status",
        help="status (the default): say what there is; prepare: download, check, decode",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; status: all by default")
    add_data_option(parser)


def add_zoo_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the list of networks."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these networks")
    parser.add_argument(
        "--shapes", metavar="NAME", help="say all about one: stem, stages, embedding, FLOPs"
    )
    parser.add_argument(
        "--dataset", default="cifar100", help="whose image size and classes (default: cifar100)"
    )
    add_data_option(parser)


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Add the flag that brings in somebody's own method."""
    parser.add_argument(
        "--plugin",
        dest="plugins",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file with a method of your own; may be given again",
    )


def add_catalogue_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the list of methods."""
    parser.add_argument(
        "names", nargs="*", metavar="METHOD", help="only these, as in ab@crd or at+kd"
    )
    parser.add_argument(
        "--pair", metavar="TEACHER:STUDENT", help="say whether each applies to these networks"
    )
    parser.add_argument(
        "--dataset", default="cifar100", help="whose image size and classes (default: cifar100)"
    )
    add_data_option(parser)
    add_plugin_option(parser)


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
