"""What several commands read from their flags: the suite, the machine file, the paths."""

from __future__ import annotations

import argparse

from benchmark.cli.options import ROOT
from benchmark.launch.machine import Machine, Paths
from benchmark.suite.suite import Planned


def paths_of(suite: Planned, options: argparse.Namespace) -> Paths:
    """Return where jobs find things."""
    from benchmark.launch.machine import Paths

    return Paths(options.results, options.data_root, tuple(suite.manifest.get("plugins", ())))


def open_suite(options: argparse.Namespace, needs_code: bool = True) -> Planned:
    """Find the suite that is asked for, as the command line changes it."""
    from benchmark.suite.suite import Planned, find

    path = find(options.suite, ROOT / "configs")
    return Planned.open(
        path,
        options.changes,
        options.results,
        needs_code,
        options.plugins,
        data=options.data_root,
    )


def machine_of(options: argparse.Namespace) -> Machine:
    """Read the machine file that is asked for."""
    from benchmark.launch.machine import Machine
    from benchmark.suite.suite import find

    return Machine.read(find(options.machine, ROOT / "configs" / "machines"))


def asked(options: argparse.Namespace) -> list[str]:
    """Return the words that name this suite and its results to another verb."""
    changes = [word for change in options.changes for word in ("--set", change)]
    where = [] if options.results == ROOT / "results" else ["--results", str(options.results)]
    return [options.suite, *changes, *where]
