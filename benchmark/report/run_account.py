"""The text of `run_all.py show RUN`: result, configuration, provenance, rerun command."""

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.runs import REFERENCE_FIELDS
from benchmark.store.fields import read_intact
from benchmark.store.folder import RunFolder
from benchmark.store.manifest import read_manifest

RERUN_FOLDER = "results-again"
"""The results folder of the rerun command. It keeps the first result, to compare both."""
MEASURED_FIELDS = ("calibration", "fidelity", "cka", "cost")
PROVENANCE_FIELDS = ("environment", "started", "finished")
RECORD_FIELDS = (
    "teacher",
    "backbone",
    "weights",
    "preprocessing",
    *MEASURED_FIELDS,
    *PROVENANCE_FIELDS,
)
"""The fields of a record that are shown, in this order."""


class RunReference(NamedTuple):
    """A place in a planned suite that trains a run."""

    manifest: Mapping[str, Any]
    facts: Mapping[str, Any]
    """Keys and values of `--only` that select this place."""
    own: bool
    """Whether the run is a cell of the suite. If not, a cell or column of it needs the run."""


def describe_run(run_id: str, results: Path, configs: Path) -> Iterator[str]:
    """Yield the lines that describe a run, the rerun command last.

    `results` is the results folder. `configs` is the folder of the suites that come with the
    program; these are named in the command without their path.
    """
    folder = RunFolder(results / "runs" / run_id)
    state = folder.state()
    record, problem = _read_result(folder, state)
    record |= record.get("measures") or {}
    references = list(references_to_run(run_id, results))
    yield f"{run_id}: {state}{_format_result(record)}"
    if problem:
        yield problem
    for reference in references:
        relation = "in suite " if reference.own else "needed in suite "
        yield relation + _format_reference(reference)
    yield "config:"
    yield json.dumps(_resolved_config(run_id, folder, references), indent=2, ensure_ascii=False)
    for name in RECORD_FIELDS:
        if record.get(name) is not None:
            yield f"{name}: {_format_value(record[name])}"
    yield _rerun_line(references, configs)


def references_to_run(run_id: str, results: Path) -> Iterator[RunReference]:
    """Yield one place of every planned suite that trains the run.

    This is the run's own cell, else a cell that needs the run, else a column whose teacher it is.
    """
    paths = sorted((results / "suites").glob("*.json"))
    for manifest in read_intact(paths, read_manifest, "Its suite is left out.").values():
        if run_id not in manifest.get("runs", {}):
            continue
        cells = manifest["cells"]
        own = [cell for cell in cells if cell["run"] == run_id]
        dependent = [cell for cell in cells if run_id in _required_runs(cell["run"], manifest)]
        columns = [
            {"column": index}
            for index, column in enumerate(manifest["columns"])
            if column["teacher_run"] == run_id
        ]
        for cell in (*own, *dependent, *columns)[:1]:
            yield RunReference(manifest, _selection_facts(manifest, cell), bool(own))


def rerun_command(reference: RunReference, configs: Path) -> str | None:
    """Return the shell command that trains the run again in a results folder of its own.

    The result is None if the suite's command line is not known.
    """
    manifest = reference.manifest
    arguments = manifest.get("asked")
    if not arguments:  # the manifest is older than this field
        if not (configs / f"{manifest['suite']}.yaml").is_file():
            return None
        arguments = [manifest["suite"]]
    suite_file = Path(arguments[0])
    suite = suite_file.stem if suite_file.parent == configs else str(suite_file)
    only = ",".join(f"{key}={value}" for key, value in reference.facts.items())
    plugins = [word for file in manifest.get("plugins", ()) for word in ("--plugin", file)]
    words = ["python", "run_all.py", suite, *arguments[1:], *plugins, "--only", only]
    return shlex.join([*words, "--results", RERUN_FOLDER])


def _rerun_line(references: Sequence[RunReference], configs: Path) -> str:
    for reference in references:
        if command := rerun_command(reference, configs):
            return f"rerun, in a results folder of its own: {command}"
    return "rerun: no suite planned in this results folder trains the run; plan its suite again"


def _selection_facts(manifest: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    column = manifest["columns"][cell["column"]]
    of_cell = {key: cell[key] for key in ("method", "seed") if key in cell}
    return {**of_cell, **{key: column[key] for key in ("student", "teacher", "dataset")}}


def _required_runs(run_id: str | None, manifest: Mapping[str, Any]) -> set[str]:
    """Return the ids of all runs that a run needs, directly or through others."""
    run = manifest["runs"].get(run_id, {})
    needs = {run[key] for key in REFERENCE_FIELDS if isinstance(run.get(key), str)}
    return needs.union(*(_required_runs(need, manifest) for need in needs))


def _resolved_config(
    run_id: str, folder: RunFolder, references: Sequence[RunReference]
) -> Mapping[str, Any]:
    if folder.config.is_file():
        with contextlib.suppress(UserError):  # it is damaged; a manifest may have it too
            return folder.read_config()
    run: Mapping[str, Any] = references[0].manifest["runs"][run_id] if references else {}
    return run


def _read_result(folder: RunFolder, state: str) -> tuple[dict[str, Any], str]:
    """Return the record of a finished run, and a line on what is wrong: a failure, or damage."""
    try:
        if state == "done":
            folder.load_record()  # checks it
            return folder.read_record(), ""
        return {}, f"failed: {folder.load_failure().message}" if state == "failed" else ""
    except UserError as error:
        return {}, str(error)


def _format_result(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    result = record["result"]
    return f", top-1 {result['top1']:.2f} % after the last epoch ({result['epoch']})"


def _format_reference(reference: RunReference) -> str:
    facts = reference.facts
    row = f"row {facts['method']}, seed {facts['seed']}, " if "method" in facts else ""
    pair = f"{facts['teacher']} -> {facts['student']} on {facts['dataset']}"
    return f"{reference.manifest['suite']}: {row}{pair}"


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, dict):
        return str(value)
    known = {key: inner for key, inner in value.items() if inner is not None}
    return ", ".join(
        f"{key}{':' * isinstance(inner, dict)} {_format_value(inner)}"
        for key, inner in known.items()
    )
