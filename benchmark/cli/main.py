"""The command line: `run_all.py VERB ...`. Each verb is a function of that name in this room.

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

from benchmark.cli.console import DONE, INTERRUPTED, USERS_MISTAKE
from benchmark.cli.options import parse_options
from benchmark.config.errors import UserError, explain_os_error
from benchmark.processes.screen import tolerant_output


class Verb(NamedTuple):
    """A command: the module of `benchmark.cli` with its function, and its help text."""

    module: str
    help: str


VERBS = {
    "run": Verb("suites", "Train the runs that are not done yet, then write tables and plots."),
    "plan": Verb(
        "suites",
        "List the runs that are done, to do and not applicable; "
        "with --machine also estimate jobs, hours and disk space.",
    ),
    "status": Verb(
        "suites",
        "Show how many runs are done, queued, running or waiting, and why others have failed.",
    ),
    "cancel": Verb(
        "suites",
        "Stop a suite's jobs, in the Slurm queue and on this machine; finished epochs are kept.",
    ),
    "logs": Verb("runs", "Print the path and the end of a run's newest log."),
    "show": Verb(
        "runs",
        "Print a run's configuration, result and provenance, and the command that repeats it.",
    ),
    "remove": Verb(
        "runs", "Move a run's folder out of the results, so that the next `run` does it again."
    ),
    "compare": Verb(
        "runs",
        "Compare the runs of two results folders: equal weights and numbers, or what differs.",
    ),
    "report": Verb("reports", "Write tables and plots from the records of finished runs."),
    "suites": Verb("catalogue", "List the suites in configs/ with their sizes."),
    "methods": Verb(
        "methods",
        "List the methods with their papers, phases, parameters and presets, "
        "or check which of them can distil a pair.",
    ),
    "teachers": Verb("teachers", "Import a teacher's checkpoint from elsewhere and measure it."),
    "data": Verb(
        "data", "List the data sets and which of their files are missing, or prepare some."
    ),
    "reference": Verb("reference", "Print every key of suite and machine files, from the schema."),
    "models": Verb("models", "List the networks with their parameters, or the shapes of one."),
    "speed": Verb(
        "speed", "Measure the suite against the field's usual loop and against the device's limits."
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code.

    What cannot be printed stops no command: it does its work, and says at the end what was lost.
    """
    with tolerant_output() as screen:
        options = parse_command_line(arguments)
        code = run_command(options, arguments)
        screen.discard_rest()
        if screen.lost is not None:
            print(f"error: output was lost: {explain_os_error(screen.lost)}", file=sys.stderr)
            # The exit code of `run` speaks of its runs; what others do is to print.
            code = code or (DONE if options.verb == "run" else USERS_MISTAKE)
    return code


def run_command(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run a command; print its errors and return its exit code."""
    # A plan of ten thousand runs makes many objects, all in use: collect garbage less often.
    gc.set_threshold(100_000, 20, 20)
    try:
        return load_command(options.verb)(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USERS_MISTAKE
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        print(
            f"error: `{options.verb}` needs {error.name}, which is not installed here "
            f"({sys.executable}): pip install torch torchvision, or use another environment",
            file=sys.stderr,
        )
        return USERS_MISTAKE
    except OSError as error:
        print(f"error: {explain_os_error(error)}", file=sys.stderr)
        return USERS_MISTAKE
    except KeyboardInterrupt:
        again = shlex.join(["python", sys.argv[0], *arguments])
        print(f"\ninterrupted; finished epochs are kept. To go on: {again}", file=sys.stderr)
        return INTERRUPTED


def run_command_line() -> int:
    """Run the command of this process: `run_all.py` and `kd-suite` of an installed package."""
    return main(sys.argv[1:])


def parse_command_line(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; without a verb, the verb is `run`."""
    return parse_options(arguments, {name: verb.help for name, verb in VERBS.items()})


def load_command(verb: str) -> Callable[[argparse.Namespace], int]:
    """Import a verb's module and return its function."""
    module = importlib.import_module(f"benchmark.cli.{VERBS[verb].module}")
    command: Callable[[argparse.Namespace], int] = getattr(module, verb)
    return command
