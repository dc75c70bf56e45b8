"""Read what several commands need from their flags: the suite, the machine file, the paths."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.shared_options import DEFAULT_RESULTS, MACHINES, SUITES
from benchmark.config.errors import UserError
from benchmark.launch.machine import Machine, Paths
from benchmark.suite.suite import Suite, suite_path


def open_suite(options: argparse.Namespace, needs_code: bool = True) -> Suite:
    """Return the suite of the command line, with its `--set` changes.

    Raises UserError if there is no such suite or it is wrong. Without ``needs_code`` the suite's
    plug-ins need not be there.
    """
    if not needs_code:
        require_results(options.results)
    path = suite_path(options.suite, SUITES)
    return Suite.open(
        path,
        options.changes,
        options.results,
        needs_code,
        options.plugins,
        data=options.data_root,
    )


def require_results(folder: Path) -> None:
    """Raise UserError where a folder to read results from is not there: it may be misspelt."""
    if not folder.is_dir():
        raise UserError(
            f"--results {folder}: there is no such folder. `run` and `plan` make it; check the name"
        )


def read_machine(options: argparse.Namespace) -> Machine:
    """Return the machine file of `--machine`. Raises UserError if it is missing or wrong."""
    return Machine.read(suite_path(options.machine, MACHINES))


def job_paths(suite: Suite, options: argparse.Namespace) -> Paths:
    """Return the folders and plug-ins that jobs use."""
    return Paths(options.results, options.data_root, suite.plugins)


def suite_arguments(options: argparse.Namespace) -> list[str]:
    """Return the arguments that make another verb work on the same suite and results."""
    changes = [word for change in options.changes for word in ("--set", change)]
    default = options.results == DEFAULT_RESULTS
    return [options.suite, *changes, *([] if default else ["--results", str(options.results)])]
