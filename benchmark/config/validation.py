"""Validate plain data into typed values, report all mistakes at once, and hash values."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from benchmark.config.errors import KeyPath, Problem, suggest

T = TypeVar("T")
MAX_ERRORS = 500
"""How many of pydantic's errors are turned into problems; the work grows with their square."""


class StrictModel(BaseModel):
    """Base of all configuration models: unknown fields and type conversions are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def canonical_json(value: object) -> str:
    """Return the canonical JSON of a value: sorted keys, no spaces, 1.0 differs from 1, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_digest(value: object) -> str:
    """Return the first 10 hex digits of the sha256 of a value's canonical JSON. Run ids use it."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:10]


def validate(type_: type[T], data: object, at: KeyPath = ()) -> tuple[T | None, list[Problem]]:
    """Parse plain data into a StrictModel or a frozen dataclass.

    Returns (value, []) or (None, problems). `at` is the data's own path in the file. There are two
    conversions: an integer is accepted for a float, and a list for a tuple. A ValueError raised in
    a dataclass's `__post_init__` or in a model's validator becomes a Problem.
    """
    try:
        # In strict mode, pydantic accepts a list for a tuple only when it parses JSON.
        envelope = _envelope(cast(Any, type_)).model_validate_json(json.dumps({"value": data}))
    except ValidationError as error:
        return None, list(_problems(type_, data, error, at))
    return envelope.value, []  # type: ignore[attr-defined]


@functools.cache
def _envelope(type_: Any) -> type[StrictModel]:  # noqa: ANN401
    """Return a model with one field of this type, so that dataclasses are checked strictly too."""
    return create_model("Envelope", __base__=StrictModel, value=(type_, ...))


def _problems(type_: type, data: object, error: ValidationError, at: KeyPath) -> Iterator[Problem]:
    messages_at: dict[KeyPath, list[str]] = {}
    unions: set[KeyPath] = set()
    short: set[KeyPath] = set()
    for item in error.errors()[:MAX_ERRORS]:
        path, in_union = _path_in_data(data, item)
        if in_union:
            unions.add(path)
        if item["type"] == "too_short":
            short.add(path)
        messages = messages_at.setdefault(path, [])
        message = _message(type_, path, item)
        if message not in messages:
            messages.append(message)
    for path in short:
        # pydantic does not count items that are wrong themselves, which are reported already.
        if any(other != path and other[: len(path)] == path for other in messages_at):
            del messages_at[path]
    for path, messages in messages_at.items():
        deeper = any(other != path and other[: len(path)] == path for other in unions)
        # For a union such as `str | DatasetSection`, report what the mapping lacks and drop the
        # message of the other branch, which is that a mapping is not a string.
        if not (path in unions and deeper):
            yield Problem((*at, *path), "; or ".join(messages))


def _path_in_data(data: Any, item: ErrorDetails) -> tuple[KeyPath, bool]:  # noqa: ANN401
    """Return an error's path in the data, and whether pydantic's own path names union branches."""
    steps, path, in_union = item["loc"][1:], (), False  # type: KeyPath, KeyPath, bool
    for i, step in enumerate(steps):
        keys = (
            data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        )
        if step in keys:
            data, path = data[step], (*path, step)
        elif item["type"] == "missing" and i == len(steps) - 1:
            path = (*path, step)
        else:
            in_union = True
    return path, in_union


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
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


def _message(type_: type, path: KeyPath, item: ErrorDetails) -> str:
    kind, got, context = item["type"], _describe(item["input"]), item.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return suggest(path[-1], _fields(type_, path[:-1]), "field", "Fields")
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {got}"
    if kind in _MUST:
        return f"must {_MUST[kind].format(**context)}, got {got}"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    return f"{item['msg'][0].lower()}{item['msg'][1:]}, got {got}"


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:57]) + "..."
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else "an empty list"
    return json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")


def _fields(type_: Any, path: KeyPath) -> list[str]:  # noqa: ANN401
    """Return the names of the fields that a type allows at a path."""
    models = list(_models_in(type_))
    for step in path:
        # A step that is not a field is a list index or a mapping key: the type stays the same.
        hints = [hint for model in models if (hint := _hints(model).get(str(step))) is not None]
        models = [model for hint in hints for model in _models_in(hint)] if hints else models
    return [name for model in models for name in _hints(model)]


def _models_in(hint: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the models and dataclasses in a type annotation."""
    if is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        yield hint
    for argument in get_args(hint):
        yield from _models_in(argument)


def _hints(model: Any) -> dict[str, Any]:  # noqa: ANN401
    if is_dataclass(model):
        hints = get_type_hints(model)
        return {field.name: hints[field.name] for field in fields(model)}
    return {name: field.annotation for name, field in model.model_fields.items()}
