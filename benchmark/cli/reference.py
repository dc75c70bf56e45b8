"""The verb `reference`: every key of suite and machine files, written from their schema."""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from benchmark.cli.console import DONE

_WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    dict: "mapping",
    Any: "any value",
}
_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
LARGEST = 10**9
"""Bounds above this are not worth a word: they keep numbers within what a computer can count."""
INTRODUCTION = """# The keys of suite and machine files

`python run_all.py reference` prints this page. It is made from the schema that checks the files.
A key in bold has no default and must be there. `--set KEY=VALUE` changes any of them, with dots
between the steps: `--set recipe.epochs=2`. Numbers are read as in YAML 1.2 (`5.0e-4`), and
`<<: *anchor` merges a mapping.
"""


def reference(options: argparse.Namespace) -> int:
    """Print the page."""
    del options
    print(reference_page(), end="")
    return DONE


def reference_page() -> str:
    """Return the page as markdown."""
    from benchmark.config.recipe import DatasetConfig, Recipe
    from benchmark.launch.machine import Machine
    from benchmark.suite import schema

    sections: list[tuple[str, type[BaseModel], type[BaseModel] | None]] = [
        ("A suite file", schema.SuiteFile, None),
        ("`dataset:`", schema.DatasetSection, DatasetConfig),
        ("`recipe:`, `recipes: {STUDENT: }` and `teacher: {recipe: }`", Recipe, None),
        ("`teacher:`", schema.TeacherSection, None),
        ("`probes: {LABEL: }`", schema.ProbeSection, DatasetConfig),
        ("`table:`", schema.TableSection, None),
        ("A machine file", Machine, None),
    ]
    parts = [INTRODUCTION]
    for heading, model, described_in in sections:
        # Without Python's double backquotes, a docstring is markdown.
        purpose = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
        parts.append(f"## {heading}\n\n{purpose}\n\n{_table(model, described_in)}")
        if model is schema.SuiteFile:
            parts.append(_ROWS)
    return "\n".join(parts)


_ROWS = """### `methods: {LABEL: {...}}`

A label is a method (`kd`), a preset (`ab@crd`), a composition (`at+kd`), or any text of up to 40
characters. A list for a parameter that takes one value makes a row for each of its values:
`kd: {temperature: [1, 2, 4]}`.

| key | type | default | meaning |
|---|---|---|---|
| `method` | text | the label, or its first word | the method, preset or composition |
| `teacher` | `random` | the pair's teacher | a control: a teacher of random weights |
| `weights` | mapping of numbers | | of a composition: the weight of `ce` and of each part |
| a parameter | as the method has it | the paper's | `python run_all.py methods METHOD` lists them |
"""


def _table(model: type[BaseModel], described_in: type[BaseModel] | None) -> str:
    texts = {**(_docstrings(described_in) if described_in else {}), **_docstrings(model)}
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        key = f"**`{name}`**" if field.is_required() else f"`{name}`"
        words = _type_words(
            Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        )
        meaning = " ".join(texts.get(name, "").split()).replace("``", "`").replace("|", "\\|")
        rows.append(f"| {key} | {words} | {_default_words(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the string below each field in the source of a class."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant):
            texts[ast.unparse(field.target)] = str(text.value)
    return texts


def _type_words(hint: Any) -> str:  # noqa: ANN401
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        words, limits = _type_words(arguments[0]), list(_limit_words(arguments[1:]))
        return f"{words} {', '.join(limits)}" if limits else words
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of: {_type_words(arguments[0])}"
    if origin is dict:
        return "mapping"
    if arguments:
        return " or ".join(_type_words(a) for a in arguments if a is not type(None))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "mapping, see below"
    return _WORDS[hint]


def _limit_words(metadata: tuple[Any, ...]) -> Iterator[str]:
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            for limit, words in _LIMITS.items():
                value = getattr(part, limit, None)
                if value is not None and value < LARGEST:
                    yield f"{words} {value:,}"
            if getattr(part, "min_length", None):
                yield f"(at least {part.min_length})"


def _default_words(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or default is None or isinstance(default, BaseModel | dict):
        return ""
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
