"""The verbs about runs in results folders: `logs`, `show`, `remove` and `compare`."""

from __future__ import annotations

import argparse

from benchmark.cli.console import DONE, SOME_FAILED, make_console, print_lines
from benchmark.cli.inputs import require_results
from benchmark.cli.shared_options import SUITES
from benchmark.config.document import load_document
from benchmark.config.errors import UserError
from benchmark.config.validation import short_digest
from benchmark.store.folder import Store, find_run_id
from benchmark.suite.manifest import load_manifest
from benchmark.suite.suite import suite_name, suite_path


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


def remove(options: argparse.Namespace) -> int:
    """Move a run's folder out of the results; print what it held and which runs need it."""
    from benchmark.store.removal import remove_run

    run_id = find_run_id(options.results, options.run)
    gone = remove_run(Store(options.results), run_id)
    lines = [f"removed {run_id}, which was {gone.state}:"]
    lines += [f"  {name}, {size:,} bytes" for name, size in gone.files.items()]
    lines.append(f"Its folder is now {gone.target}. Delete that, or move it back to undo this.")
    if gone.dependents:
        lines.append(f"{len(gone.dependents)} runs here need it as their teacher or backbone:")
        lines += [f"  {other}" for other in gone.dependents]
        lines.append("What is done of them stays; what is not done waits until it is done again.")
    print_lines(lines, make_console())
    return DONE


def compare(options: argparse.Namespace) -> int:
    """Compare the runs of two results folders; return 0 only if all are equal."""
    from benchmark.report.results.comparison import compare_results

    a, b = options.results_a, options.results_b
    found = compare_results(a, b, planned_runs(options) if options.suite else None)
    lines = [f"{len(found.equal)} runs are equal: weights, results and histories"]
    if found.different:
        count = len(found.different)
        lines += ["", f"{count} runs differ (A and B)" if count > 1 else "1 run differs (A and B)"]
    for run_id, differences in found.different.items():
        lines += [f"  {run_id}", *(f"    {difference}" for difference in differences)]
    for folder, only in ((a, found.only_a), (b, found.only_b)):
        if only:
            are = f"{len(only)} runs are" if len(only) > 1 else "1 run is"
            lines += ["", f"{are} done in {folder} only"]
            lines += [f"  {run_id}" for run_id in only]
    print_lines(lines, make_console())
    return SOME_FAILED if any(found[1:]) else DONE


def planned_runs(options: argparse.Namespace) -> list[str]:
    """Return the ids of a suite's runs, from the results folder that it was planned in."""
    document = load_document(suite_path(options.suite, SUITES)).with_overrides(options.changes)
    name = suite_name(document.path, options.changes)
    for results in (options.results_a, options.results_b):
        manifest = load_manifest(results, name, short_digest(document.data))
        if manifest is not None:
            return list(manifest["runs"])
    raise UserError(
        f"{name} as it is now was planned neither into {options.results_a} nor into "
        f"{options.results_b}: leave the suite out to compare all runs"
    )
