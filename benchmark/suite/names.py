"""What a suite names (data sets, pairs, networks), and what is wrong with that, in any form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark import models
from benchmark.config.errors import Place, Problem, UserError, suggest
from benchmark.data import find

ARROW = re.compile(r"(\S+)\s*->\s*(\S+)")


def problems_of_names(raw: dict[str, Any], root: Path) -> Iterator[Problem]:
    """Find every name that means nothing, and what is listed twice."""
    yield from dataset_problems(raw, root)
    yield from pair_problems(raw)
    yield from network_problems(raw)
    yield from duplicates(raw)
    yield from table_problems(raw)


def dataset_problems(raw: dict[str, Any], root: Path) -> Iterator[Problem]:
    """Find unknown data sets."""
    part = raw.get("dataset")
    place: Place = ("dataset",)
    if isinstance(part, dict):
        part, place = part.get("name"), ("dataset", "name")
    named = [(place, part)]
    probes = raw.get("probes")
    for label, probe in (probes if isinstance(probes, dict) else {}).items():
        if isinstance(probe, dict):
            told = "dataset" in probe
            where: Place = ("probes", label, "dataset") if told else ("probes", label)
            named.append((where, probe["dataset"] if told else label))
    for where, name in named:
        if isinstance(name, str):
            try:
                find(name, root)
            except UserError as error:
                yield Problem(where, str(error))


def pair_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Find pairs that are malformed or name an unknown network."""
    pairs = raw.get("pairs")
    for i, text in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(text, str):
            continue
        match = ARROW.fullmatch(text.strip())
        if match is None:
            yield Problem(("pairs", i), f"expected 'teacher -> student', got {text!r}")
            continue
        for network in match.groups():
            yield from unknown_network(("pairs", i), network)


def network_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Find recipes of networks that are no pair's student."""
    block = raw.get("recipes")
    for name in block if isinstance(block, dict) else {}:
        yield from unknown_network(("recipes", name), name)


def table_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Find rows, pairs and data sets that the tables are to show and that are not in the suite."""
    part, dataset = raw.get("table"), raw.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    there = {
        "rows": _listed(raw.get("methods")),
        "pairs": [" -> ".join(t.replace("->", " ").split()) for t in _listed(raw.get("pairs"))],
        "datasets": [str(name), *_listed(raw.get("probes"))],
    }
    for key, names in there.items():
        for text in _listed(part.get(key) if isinstance(part, dict) else None):
            if text not in names:
                yield Problem(("table", key), suggest(text, names, "name"))


def _listed(block: object) -> list[str]:
    return [str(item) for item in block] if isinstance(block, list | dict) else []


def unknown_network(place: Place, name: str) -> Iterator[Problem]:
    """Find that there is no such network."""
    try:
        models.maker(name)
    except UserError as error:
        yield Problem(place, str(error))


def duplicates(raw: dict[str, Any]) -> Iterator[Problem]:
    """Find seeds and pairs that are listed twice."""
    for key in ("seeds", "pairs"):
        items = raw.get(key)
        seen: list[Any] = []
        for i, item in enumerate(items if isinstance(items, list) else []):
            if item in seen:
                yield Problem((key, i), f"{item} is in the list already")
            seen.append(item)
