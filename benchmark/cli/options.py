"""Parse the command line; the flags of the verbs about a suite."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmark.cli.console import USERS_MISTAKE
from benchmark.cli.other_options import ADDERS
from benchmark.cli.shared_options import (
    SUITES,
    add_data_option,
    add_plugin_option,
    add_results_option,
)


def parse_options(arguments: Sequence[str], verbs: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line; ``verbs`` maps each verb to its help text.

    If the first argument is not a verb, the verb is `run`.
    """
    words = list(arguments)
    if not words or words[0] not in {*verbs, "-h", "--help", "--version"}:
        asks_for_help = not {"-h", "--help"}.isdisjoint(words)
        if words and not asks_for_help and (message := unknown_word(words[0], verbs)):
            print(f"error: {message}", file=sys.stderr)
            raise SystemExit(USERS_MISTAKE)
        words.insert(0, "run")
    parser = argparse.ArgumentParser(
        prog="run_all.py",
        description="Train and compare knowledge-distillation methods. A suite (a file in "
        "configs/) lists the methods, teacher-student pairs and seeds.",
        epilog="To begin: `run_all.py plan quickstart`, then `run_all.py run quickstart`. "
        "`run_all.py VERB --help` lists the flags of a verb. Without a verb: run. Exit codes: "
        "0 all done, 1 some runs failed, 2 a mistake in the command or its files, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"kd-suite {installed_version()}")
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in verbs.items():
        add_options(parsers.add_parser(verb, help=text, description=text), verb)
    return parser.parse_args(words)


def unknown_word(word: str, verbs: Iterable[str]) -> str:
    """Return what is wrong with a first word that is no verb; empty if it may be a suite."""
    is_path = word.endswith((".yaml", ".yml")) or os.sep in word
    if word.startswith("-") or is_path or (SUITES / f"{word}.yaml").is_file():
        return ""
    known = (sorted(verbs), sorted(path.stem for path in SUITES.glob("*.yaml")))
    close = (difflib.get_close_matches(word.lower(), names, 1) for names in known)
    hint = next((f" Did you mean '{names[0]}'?" for names in close if names), "")
    commands, suites = map(", ".join, known)
    return f"'{word}': no such command or suite.{hint} Commands: {commands}. Suites: {suites}"


def installed_version() -> str:
    """Return the version in the metadata of the installed package."""
    try:
        return version("kd-suite")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the flags of a verb."""
    adders = {
        **ADDERS,
        "run": add_run_options,
        "plan": add_plan_options,
        "status": add_status_options,
        "report": add_report_options,
    }
    adders.get(verb, add_suite_options)(parser)


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


def add_status_options(parser: argparse.ArgumentParser) -> None:
    add_suite_options(parser)
    parser.add_argument(
        "--all", action="store_true", help="print every run that is not done, one a line"
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
