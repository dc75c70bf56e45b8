"""A list for a parameter that takes one value makes several rows: `temperature: [1, 2, 4]`."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import methods
from benchmark.config.errors import KeyPath, Problem

Given = Mapping[str, Any] | None
"""What a suite file says of a row; None if it says nothing."""
MAX_ROWS = 1000


def expand_sweeps(block: Mapping[str, Given]) -> dict[str, Given]:
    """Return the rows of a suite's ``methods``, with every swept row replaced by its rows.

    The rows of a sweep are called `kd temperature=1`, `kd temperature=2`; with several lists there
    is a row for each combination, and the last list varies fastest.
    """
    return {name: row for label, given in block.items() for name, row in rows_of(label, given)}


def sweep_problems(block: Mapping[str, Given]) -> Iterator[Problem]:
    """Yield rows that occur twice once all sweeps are expanded, and sweeps that are too long."""
    known = {label for label, given in block.items() if not _lists(label, given)}
    for label, given in block.items():
        swept = _lists(label, given)
        for path, values in swept:
            texts = [format_value(value) for value in values]
            repeated = [text for i, text in enumerate(texts) if text in texts[:i]]
            if repeated:
                yield Problem(("methods", label, *path), f"{repeated[0]} is listed twice")
        if swept and count_rows(swept) > MAX_ROWS:
            message = f"makes {count_rows(swept):,} rows; at most {MAX_ROWS:,} are allowed"
            yield Problem(("methods", label), message)
        elif swept and (both := known & {name for name, _ in rows_of(label, given)}):
            yield Problem(("methods", label), f"makes a row '{min(both)}', which is there already")


def rows_of(label: str, given: Given) -> Iterator[tuple[str, Given]]:
    """Yield the label and the parameters of each row that one entry of ``methods`` makes."""
    swept = _lists(label, given)
    if not swept:
        yield label, given
        return
    combinations = itertools.product(*(values for _, values in swept))
    for values in itertools.islice(combinations, MAX_ROWS):  # more are a mistake, see above
        chosen = list(zip([path for path, _ in swept], values, strict=True))
        row: Any = {"method": method_of(label), **(given or {})}
        for path, value in chosen:
            row = _replaced(row, path, value)
        words = (f"{'.'.join(map(str, path))}={format_value(value)}" for path, value in chosen)
        yield " ".join([label, *words]), row


def method_of(label: str) -> str:
    """Return the specification that a row without `method` has: `kd` of the label `kd T=1`."""
    try:
        methods.parse(label)
    except ValueError:
        with contextlib.suppress(ValueError):
            return methods.parse(label.split(" ")[0]).text
    return label


def count_rows(swept: list[tuple[KeyPath, list[Any]]]) -> int:
    total = 1
    for _, values in swept:
        total *= len(values)
    return total


def format_value(value: object) -> str:
    """Return a parameter's value as a suite file would contain it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value)  # a float with all of its digits, since values must not share a label


def _lists(label: str, given: Given) -> list[tuple[KeyPath, list[Any]]]:
    """Return the paths and lists of a row's parameters that take one value each."""
    if not given:
        return []
    try:
        config = methods.parse(str(given.get("method", method_of(label)))).kind.Config
    except ValueError:  # an unknown method; parsing the row reports it
        return []
    return list(_lists_in(config, given, ()))


def _lists_in(config: type, given: Any, path: KeyPath) -> Iterator[tuple[KeyPath, list[Any]]]:  # noqa: ANN401
    hints = get_type_hints(config)
    for key, value in given.items() if isinstance(given, Mapping) else ():
        hint = hints.get(key)
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _lists_in(hint, value, (*path, key))
        elif hint is not None and isinstance(value, list) and value and not takes_a_list(hint):
            yield (*path, key), value


def takes_a_list(hint: object) -> bool:
    """Return whether a parameter of this type may be a list, so that a list is no sweep."""
    return get_origin(hint) in (tuple, list) or any(map(takes_a_list, get_args(hint)))


def _replaced(values: Mapping[str, Any], path: KeyPath, value: object) -> dict[str, Any]:
    """Return a copy of nested mappings with one value replaced."""
    first, *rest = path
    inner = _replaced(values[str(first)], tuple(rest), value) if rest else value
    return {**values, str(first): inner}
