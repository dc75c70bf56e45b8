"""The command line: `run_all.py VERB ...`. Each verb is a function of that name in a file here.

Importing this file loads neither torch nor any command, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmark.cli.console import INTERRUPTED, USERS_MISTAKE
from benchmark.cli.options import options_of
from benchmark.config.errors import UserError, explain


class Verb(NamedTuple):
    """One command: the file of `benchmark/cli/` that has its function, and its line of help."""

    file: str
    help: str


VERBS = {
    "run": Verb("suites", "Train what is not done yet, then write the tables and plots."),
    "plan": Verb(
        "suites",
        "List what is done, what is to do and what does not apply; "
        "with --machine also the jobs, hours and disk space that it takes.",
    ),
    "status": Verb("suites", "Show every run: queued, in which epoch, done, or why it has failed."),
    "cancel": Verb(
        "suites",
        "Stop a suite's jobs, in the queue and on this machine; finished epochs are kept.",
    ),
    "logs": Verb("runs", "Print the path and the end of a run's newest log."),
    "show": Verb(
        "runs",
        "Print a run's configuration, result and provenance, and the command that repeats it.",
    ),
    "report": Verb("reports", "Write tables and plots from the records there are."),
    "methods": Verb(
        "methods", "List the methods: papers, phases, what they read, parameters and presets."
    ),
    "teachers": Verb(
        "teachers", "Import a teacher's checkpoint: it is read safely, and measured at once."
    ),
    "data": Verb(
        "data", "List the data sets and which of their files are missing, or prepare some."
    ),
    "models": Verb("models", "List the networks with their parameters, or the shapes of one."),
    "speed": Verb(
        "speed", "Measure the suite against the field's usual loop and against the device's limits."
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments ask for and return the exit code."""
    options = parse(arguments)
    gc.set_threshold(100_000, 20, 20)  # ten thousand runs are many objects, and no garbage
    try:
        return command_of(options.verb)(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USERS_MISTAKE
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return USERS_MISTAKE
    except KeyboardInterrupt:
        again = shlex.join(["python", sys.argv[0], *arguments])
        print(f"\ninterrupted; finished epochs are kept. To go on: {again}", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. The default verb is `run`."""
    return options_of(arguments, {name: verb.help for name, verb in VERBS.items()})


def command_of(verb: str) -> Callable[[argparse.Namespace], int]:
    """Import a verb's file and return its function."""
    module = importlib.import_module(f"benchmark.cli.{VERBS[verb].file}")
    command: Callable[[argparse.Namespace], int] = getattr(module, verb)
    return command
