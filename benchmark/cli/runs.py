"""The verbs about one run: `logs` and `show`."""

from __future__ import annotations

import argparse

from benchmark.cli.console import DONE
from benchmark.cli.inputs import require_results
from benchmark.cli.options import SUITES
from benchmark.config.errors import UserError
from benchmark.store.folder import find_run_id


def logs(options: argparse.Namespace) -> int:
    """Print the path and the end of a run's newest log."""
    from benchmark.launch.logs import newest_logs

    require_results(options.results)
    run_id = find_run_id(options.results, options.run)
    path = newest_logs(options.results).get(run_id)
    if path is None:
        raise UserError(f"{run_id}: there is no log yet; its job has not started")
    lines = path.read_text(errors="replace").splitlines()
    print("\n".join([f"{run_id}: {path}", *lines[len(lines) - options.lines :]]))
    return DONE


def show(options: argparse.Namespace) -> int:
    """Print a run's configuration, result, provenance, and the command that repeats it."""
    from benchmark.report.run_account import describe_run

    require_results(options.results)
    run_id = find_run_id(options.results, options.run)
    print("\n".join(describe_run(run_id, options.results, SUITES)))
    return DONE
