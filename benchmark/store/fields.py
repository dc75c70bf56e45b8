"""Read a JSON file of the results folder, and say what is wrong with it."""

from __future__ import annotations

import functools
import json
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from benchmark.store.checkpoint import DamagedFileError

T = TypeVar("T")


def read_fields(type_: type[T], path: Path) -> T:
    """Return the content of a file as a dataclass whose fields have the annotated types.

    Raises FileNotFoundError where it is missing, and DamagedFileError where it is not a file of
    this kind: not JSON, unknown or missing fields, or a value of another type.
    """
    try:
        return parse_fields(type_, read_json(path))
    except ValueError as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path}: cannot be read ({error})") from None


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Return the content of a JSON file.

    Raises FileNotFoundError where it is missing, DamagedFileError where it is not JSON.
    """
    try:
        return json.loads(read_file(path), parse_float=_as_finite, parse_constant=_as_finite)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path}: cannot be read ({error})") from None


def _as_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # `NaN`, `Infinity` and 1e999, which JSON does not have
        raise ValueError(f"{text:.20} is not a finite number")
    return value


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises FileNotFoundError where it is missing, DamagedFileError where it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise DamagedFileError(f"{path}: is not a file")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror or error})") from None


def parse_fields(type_: type[T], data: object) -> T:
    """Return plain data as a dataclass. Raises ValueError where it does not fit."""
    value: T = _parse(type_, data, "the file")
    return value


def read_intact(
    paths: Iterable[Path], read: Callable[[Path], T], consequence: str
) -> dict[Path, T]:
    """Read files; those that are damaged are left out and named, once, on standard error.

    ``consequence`` says what is lost and what to do.
    """
    intact = {}
    for path in paths:
        try:
            intact[path] = read(path)
        except FileNotFoundError:
            continue  # removed just now
        except DamagedFileError as error:
            warn_once(f"warning: {error}. {consequence}")
    return intact


@functools.cache
def warn_once(text: str) -> None:
    """Print a warning on standard error, unless this process has printed it before."""
    print(text, file=sys.stderr, flush=True)


def _parse(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if is_dataclass(hint):
        return _parse_dataclass(hint, value, where)
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return None if value is None else _parse(arguments[0], value, where)
    if kind is list and isinstance(value, list):
        return [_parse(arguments[0], one, f"{where}[{i}]") for i, one in enumerate(value)]
    plain: Any = kind or hint
    plain = {float: (float, int), Mapping: dict}.get(plain, plain)
    if not isinstance(value, plain) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} is {value!r:.60}")
    return value


def _parse_dataclass(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a mapping")
    hints = get_type_hints(hint)
    required = {f.name for f in fields(hint) if f.default is f.default_factory is MISSING}
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where} has the unknown field {unknown[0]!r:.60}")
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{where} lacks the field {missing[0]!r}")
    return hint(**{name: _parse(hints[name], part, name) for name, part in value.items()})
