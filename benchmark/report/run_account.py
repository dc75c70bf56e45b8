"""What one run was, where its numbers came from, and the command that does it again."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.config.runs import NEEDS
from benchmark.store.folder import RunFolder

AGAIN = "results-again"
MEASURED = ("calibration", "fidelity", "cka", "cost")


class Found(NamedTuple):
    """What of a suite does the run: its own cell, one that needs it, or a column of its own."""

    manifest: Mapping[str, Any]
    facts: Mapping[str, Any]
    """As `--only` chooses by."""
    own: bool


def account(run_id: str, results: Path, configs: Path) -> Iterator[str]:
    """Yield lines: state and result, suites, resolved config, provenance, the command."""
    folder = RunFolder(results / "runs" / run_id)
    state = folder.state()
    record = folder.read_record() if state == "done" else {}
    record |= record.get("measures") or {}
    found = list(cells_of(run_id, results))
    yield f"{run_id}: {state}{_result(record)}"
    if state == "failed":
        yield f"failed: {folder.read_failure()['message']}"
    for one in found:
        yield ("in suite " if one.own else "needed in suite ") + _told(one)
    yield "config:"
    yield json.dumps(_config(run_id, folder, found), indent=2, ensure_ascii=False)
    for part in ("teacher", "backbone", "weights", *MEASURED, "environment", "started", "finished"):
        if record.get(part) is not None:
            yield f"{part}: {_flat(record[part])}"
    yield from _again(found, configs)


def cells_of(run_id: str, results: Path) -> Iterator[Found]:
    """Yield one cell of every planned suite that has the run, its own where there is one."""
    for path in sorted((results / "suites").glob("*.json")):
        manifest = _read(path)
        if run_id not in manifest.get("runs", {}):
            continue
        cells = manifest["cells"]
        own = [cell for cell in cells if cell["run"] == run_id]
        others = [cell for cell in cells if run_id in _needs(cell["run"], manifest)]
        columns = [
            {"column": place}
            for place, column in enumerate(manifest["columns"])
            if column["teacher_run"] == run_id
        ]
        for cell in (*own, *others, *columns)[:1]:
            yield Found(manifest, _facts(manifest, cell), bool(own))


def command(found: Found, configs: Path) -> str | None:
    """The words that do one cell again, in a folder of its own; None where they are not known.

    A finished run is never overwritten, so that the second can be compared with the first.
    """
    manifest = found.manifest
    asked = manifest.get("asked")
    if asked is None:  # planned by code that did not write it down
        if not (configs / f"{manifest['suite']}.yaml").is_file():
            return None
        asked = [manifest["suite"]]
    first = Path(asked[0])
    name = first.stem if first.parent == configs else str(first)
    only = ",".join(f"{key}={value}" for key, value in found.facts.items())
    plugins = [word for file in manifest.get("plugins", ()) for word in ("--plugin", file)]
    words = ["python", "run_all.py", name, *asked[1:], *plugins, "--only", only]
    return shlex.join([*words, "--results", AGAIN])


def _again(found: Sequence[Found], configs: Path) -> Iterator[str]:
    commands = [words for one in found if (words := command(one, configs))]
    if commands:
        yield f"again, beside what is there: {commands[0]}"
    else:
        yield "again: no suite that was planned into these results has it; plan its suite anew"


def _facts(manifest: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    column = manifest["columns"][cell["column"]]
    of_cell = {key: cell[key] for key in ("method", "seed") if key in cell}
    return {**of_cell, **{key: column[key] for key in ("student", "teacher", "dataset")}}


def _needs(run_id: str | None, manifest: Mapping[str, Any]) -> set[str]:
    """All runs that a run rests on."""
    run = manifest["runs"].get(run_id, {})
    found = {run[key] for key in NEEDS if isinstance(run.get(key), str)}
    return found.union(*(_needs(need, manifest) for need in found))


def _config(run_id: str, folder: RunFolder, found: Sequence[Found]) -> Mapping[str, Any]:
    if folder.config.is_file():
        return folder.read_config()
    run: Mapping[str, Any] = found[0].manifest["runs"][run_id] if found else {}
    return run


def _result(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    result = record["result"]
    return f", top-1 {result['top1']:.2f} % after epoch {result['epoch']}, the last"


def _told(found: Found) -> str:
    facts = found.facts
    row = f"row {facts['method']}, seed {facts['seed']}, " if "method" in facts else ""
    place = f"{facts['teacher']} -> {facts['student']} on {facts['dataset']}"
    return f"{found.manifest['suite']}: {row}{place}"


def _flat(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, dict):
        return str(value)
    known = {key: inner for key, inner in value.items() if inner is not None}
    return ", ".join(
        f"{key}{':' * isinstance(inner, dict)} {_flat(inner)}" for key, inner in known.items()
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        made: Mapping[str, Any] = json.loads(path.read_text())
    except ValueError:
        return {}
    return made
