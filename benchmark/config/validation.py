"""YAML to validated, typed values; all errors at once; canonical form and digest."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from benchmark.config.document import Document, load
from benchmark.config.errors import Place, Problem, UserError, suggest

__all__ = ["Document", "Place", "Problem", "Strict", "UserError", "canonical", "check"]
__all__ += ["digest", "load", "suggest"]

T = TypeVar("T")


class Strict(BaseModel):
    """What each part of a configuration file derives from: nothing extra, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, 1.0 apart from 1, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Return 10 hex digits of the sha256 of the canonical form: what run ids end in."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:10]


def check(type_: type[T], data: object, at: Place = ()) -> tuple[T | None, list[Problem]]:
    """Make a Strict model or a frozen dataclass of plain data; `at` is where the data stands.

    Only a whole number is also taken where a real one is asked for, and a list for a tuple. A
    ValueError of a dataclass's `__post_init__` or of a model's validator is a Problem like others.
    Returns (value, []) or (None, problems).
    """
    try:
        # By way of JSON: pydantic's strict mode takes a list for a tuple only from there.
        envelope = _envelope(cast(Any, type_)).model_validate_json(json.dumps({"value": data}))
    except ValidationError as error:
        return None, list(_problems(type_, data, error, at))
    return envelope.value, []  # type: ignore[attr-defined]


@functools.cache
def _envelope(type_: Any) -> type[Strict]:  # noqa: ANN401
    """A model around the type lends its strictness to what has no settings: a plain dataclass."""
    return create_model("Envelope", __base__=Strict, value=(type_, ...))


def _problems(type_: type, data: object, error: ValidationError, at: Place) -> Iterator[Problem]:
    found: dict[Place, list[str]] = {}
    unions: set[Place] = set()
    for item in error.errors():
        place, in_union = _place(data, item)
        if in_union:
            unions.add(place)
        messages = found.setdefault(place, [])
        message = _message(type_, place, item)
        if message not in messages:
            messages.append(message)
    for place, messages in found.items():
        deeper = any(other != place and other[: len(place)] == place for other in unions)
        # Of `str | Part`, a mapping that is nearly a Part is told what it lacks, not that it is
        # no word.
        if not (place in unions and deeper):
            yield Problem((*at, *place), "; or ".join(messages))


def _place(data: Any, item: ErrorDetails) -> tuple[Place, bool]:  # noqa: ANN401
    """Return pydantic's location without the steps that only name a branch of a union."""
    steps, place, in_union = item["loc"][1:], (), False  # type: Place, Place, bool
    for i, step in enumerate(steps):
        keys = (
            data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        )
        if step in keys:
            data, place = data[step], (*place, step)
        elif item["type"] == "missing" and i == len(steps) - 1:
            place = (*place, step)
        else:
            in_union = True
    return place, in_union


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
}
_MUST = {
    "greater_than": "be greater than {gt:g}",
    "greater_than_equal": "be at least {ge:g}",
    "less_than": "be less than {lt:g}",
    "less_than_equal": "be at most {le:g}",
    "finite_number": "be a finite number",
    "literal_error": "be {expected}",
    "too_short": "have at least {min_length} items",
    "too_long": "have at most {max_length} items",
    "string_too_short": "have at least {min_length} letters",
}


def _message(type_: type, place: Place, item: ErrorDetails) -> str:
    kind, got, context = item["type"], _shown(item["input"]), item.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return suggest(place[-1], _fields(type_, place[:-1]), "field", "Fields")
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {got}"
    if kind in _MUST:
        return f"must {_MUST[kind].format(**context)}, got {got}"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    return f"{item['msg'][0].lower()}{item['msg'][1:]}, got {got}"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:57]) + "..."
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else "an empty list"
    return json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")


def _fields(type_: Any, place: Place) -> list[str]:  # noqa: ANN401
    """Return the names of the fields that can stand at a place of a type."""
    parts = list(_parts(type_))
    for step in place:
        # A step that is no field's name is a list's index or a mapping's key: the type stays.
        inner = [hint for part in parts if (hint := _hints(part).get(str(step))) is not None]
        parts = [part for hint in inner for part in _parts(hint)] if inner else parts
    return [name for part in parts for name in _hints(part)]


def _parts(hint: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the models and dataclasses that an annotation speaks of."""
    if is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        yield hint
    for argument in get_args(hint):
        yield from _parts(argument)


def _hints(part: Any) -> dict[str, Any]:  # noqa: ANN401
    if is_dataclass(part):
        hints = get_type_hints(part)
        return {field.name: hints[field.name] for field in fields(part)}
    return {name: field.annotation for name, field in part.model_fields.items()}
