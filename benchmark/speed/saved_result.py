"""The file of results: written after every measurement, and read by the call that continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmark.config.errors import UserError
from benchmark.speed.result import SpeedResult, goals
from benchmark.speed.tables import render_markdown
from benchmark.store.atomic import write_atomic

SCHEMA = 3
SAME_FACTS = "device", "cpu", "torch", "commit", "methods", "batch", "images", "train_images"
"""Facts that must not change between the calls that write to one file."""
RESULT: TypeAdapter[SpeedResult] = TypeAdapter(SpeedResult)


def write_result(path: Path, result: SpeedResult) -> None:
    """Write a result as JSON to ``path`` and its tables as Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(result), indent=1, allow_nan=False) + "\n"
    for name, content in ((path.with_suffix(".md"), render_markdown(result)), (path, text)):
        write_atomic(name, content.encode())


def to_json(result: SpeedResult) -> dict[str, Any]:
    """Return the measurements, which ``read_result`` reads back, and what is derived from them.

    A round's times are [work, wall clock] in seconds per step.
    """
    derived = {
        "ratios": {str(pair.pair): pair.ratios for pair in result.pairs},
        "geometric_means": {
            name: result.mean_ratio(name) for pair in result.pairs[:1] for name in pair.ratios
        },
        "floors": {str(pair.pair): pair.floor(result.rates) for pair in result.pairs},
        "input_shares": result.input_shares,
        "goals": [*goals(result)],
    }
    return {
        "schema": SCHEMA,
        "measured": RESULT.dump_python(result, mode="json"),
        "derived": TypeAdapter(dict[str, Any]).dump_python(derived, mode="json"),
    }


def read_result(path: Path, facts: Mapping[str, Any]) -> SpeedResult | None:
    """Read a result; None if there is no file.

    Raises ``UserError`` if the file is no result, or one of another machine, code or request, whose
    numbers must not be mixed with those of this call.
    """
    try:
        data = json.loads(path.read_text())
        result = RESULT.validate_python(data["measured"]) if data["schema"] == SCHEMA else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--into {path}: not a result of `speed`: {error}; name another file"
        ) from error
    if result is None:
        raise UserError(f"--into {path}: from another version of `speed`; name another file")
    for name in SAME_FACTS:
        if result.facts.get(name) != facts[name]:
            raise UserError(
                f"--into {path}: measured with {name} {result.facts.get(name)}, but it is "
                f"{facts[name]} now; name another file"
            )
    return result
