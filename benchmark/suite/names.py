"""Check the names of data sets, networks and pairs in a suite file that may be invalid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark import models
from benchmark.config.errors import KeyPath, Problem, UserError, suggest
from benchmark.data import find_data_set
from benchmark.suite.sweeps import expand_sweeps

PAIR_PATTERN = re.compile(r"(\S+)\s*->\s*(\S+)")


def name_problems(raw: dict[str, Any], root: Path) -> Iterator[Problem]:
    """Yield all unknown names, and all entries that are listed twice."""
    yield from dataset_problems(raw, root)
    yield from pair_problems(raw)
    yield from network_problems(raw)
    yield from duplicate_problems(raw)
    yield from table_problems(raw)


def dataset_problems(raw: dict[str, Any], root: Path) -> Iterator[Problem]:
    """Yield unknown data sets."""
    part = raw.get("dataset")
    place: KeyPath = ("dataset",)
    if isinstance(part, dict):
        part, place = part.get("name"), ("dataset", "name")
    named = [(place, part)]
    probes = raw.get("probes")
    for label, probe in (probes if isinstance(probes, dict) else {}).items():
        if isinstance(probe, dict):
            given = "dataset" in probe
            where: KeyPath = ("probes", label, "dataset") if given else ("probes", label)
            named.append((where, probe["dataset"] if given else label))
    for where, name in named:
        if isinstance(name, str):
            try:
                find_data_set(name, root)
            except UserError as error:
                yield Problem(where, str(error))


def pair_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Yield pairs that are malformed or contain an unknown network."""
    pairs = raw.get("pairs")
    for i, text in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(text, str):
            continue
        match = PAIR_PATTERN.fullmatch(text.strip())
        if match is None:
            yield Problem(("pairs", i), f"expected 'teacher -> student', got {text!r}")
            continue
        for network in match.groups():
            yield from unknown_network_problems(("pairs", i), network)


def network_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Yield unknown networks in ``recipes``."""
    block = raw.get("recipes")
    for name in block if isinstance(block, dict) else {}:
        yield from unknown_network_problems(("recipes", name), name)


def table_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Yield what ``table`` selects twice, or that the suite does not have, and empty selections."""
    part, dataset = raw.get("table"), raw.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    known = {
        "rows": list(expand_sweeps(_rows(raw.get("methods")))),
        "pairs": [_normalised_pair(text) for text in _listed(raw.get("pairs"))],
        "datasets": [str(name), *_listed(raw.get("probes"))],
    }
    for key, names in known.items():
        selected = part.get(key) if isinstance(part, dict) else None
        if selected in ([], {}):
            yield Problem(("table", key), "selects nothing; leave it out to show everything")
        texts = _listed(selected)
        for i, text in enumerate(texts):
            if text not in names:
                yield Problem(("table", key), suggest(text, names, "name"))
            elif text in texts[:i]:
                yield Problem(("table", key), f"{text} is already in the list")


def _rows(block: object) -> dict[str, dict[str, Any] | None]:
    valid = block.items() if isinstance(block, dict) else ()
    return {label: row for label, row in valid if row is None or isinstance(row, dict)}


def _normalised_pair(text: str) -> str:
    return " -> ".join(text.replace("->", " ").split())


def _listed(block: object) -> list[str]:
    return [str(item) for item in block] if isinstance(block, list | dict) else []


def unknown_network_problems(place: KeyPath, name: str) -> Iterator[Problem]:
    """Yield a problem if there is no network of that name."""
    try:
        models.network_factory(name)
    except UserError as error:
        yield Problem(place, str(error))


def duplicate_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Yield seeds and pairs that are listed twice."""
    for key in ("seeds", "pairs"):
        items = raw.get(key)
        before: set[Any] = set()
        for i, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, str | int) and not isinstance(item, bool):
                same = _normalised_pair(item) if isinstance(item, str) else item
                if same in before:
                    yield Problem((key, i), f"{same} is already in the list")
                before.add(same)
