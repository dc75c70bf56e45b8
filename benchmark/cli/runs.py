"""The commands about one run: `logs` and `show`."""

from __future__ import annotations

import argparse

from benchmark.cli.console import DONE
from benchmark.cli.options import ROOT
from benchmark.config.errors import UserError


def logs(options: argparse.Namespace) -> int:
    """Print where a run's newest log is, and the end of it."""
    from benchmark.launch.logs import logs_of
    from benchmark.store.folder import run_named

    run_id = run_named(options.results, options.run)
    path = logs_of(options.results).get(run_id)
    if path is None:
        raise UserError(f"{run_id}: no job of it has written a log yet")
    lines = path.read_text(errors="replace").splitlines()
    print("\n".join([f"{run_id}: {path}", *lines[len(lines) - options.lines :]]))
    return DONE


def show(options: argparse.Namespace) -> int:
    """Say what a run was, where its numbers came from, and the command that does it again."""
    from benchmark.report.run_account import account
    from benchmark.store.folder import run_named

    run_id = run_named(options.results, options.run)
    print("\n".join(account(run_id, options.results, ROOT / "configs")))
    return DONE
