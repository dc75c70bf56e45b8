"""A YAML file as plain data that remembers where each value came from."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from benchmark.config.errors import Place, Problem, UserError, suggest

Origins = dict[Place, int | str]
"""By place: its line, or the `--set KEY` that put it there."""


@dataclass(frozen=True)
class Document:
    """What a file says, with the command line's changes laid over it."""

    path: Path
    data: Any
    """Nested dict, list, str, int, float, bool, None."""
    origins: Mapping[Place, int | str]

    def with_overrides(self, assignments: Iterable[str]) -> Document:
        """Apply `recipe.epochs=2` and the like: a dotted place, and a YAML value for it.

        A place that leads into a word takes that word as short for {"name": word}: with
        `dataset: digits`, `dataset.limit=100` gives {"name": "digits", "limit": 100}. In a list, a
        step is a number from 0 or an item's name.
        """
        data, origins = copy.deepcopy(self.data), dict(self.origins)
        for assignment in assignments:
            try:
                _assign(data, origins, assignment)
            except _FaultError as fault:
                raise UserError(f"--set {assignment}: {fault}") from None
        return Document(self.path, data, origins)

    def fail(self, problems: Iterable[Problem]) -> NoReturn:
        """Raise one UserError that lists every problem, in the order of the file's lines."""
        rows = [(_origin(self.origins, problem.where), problem) for problem in problems]
        rows.sort(key=lambda row: (isinstance(row[0], str), row[0]))  # lines, then options
        cells = [
            (f"line {o}" if isinstance(o, int) else o, _dotted(where), message)
            for o, (where, message) in rows
        ]
        widths = [max(len(cell[column]) for cell in cells) for column in (0, 1)]
        count = f"{len(cells)} problem{'s' if len(cells) > 1 else ''}"
        body = (f"  {o:{widths[0]}}  {w:{widths[1]}}   {message}" for o, w, message in cells)
        raise UserError("\n".join([f"{self.path}: {count}", *body]))


def load(path: Path) -> Document:
    """Read a YAML file. One that is missing, empty or malformed is a UserError."""
    try:
        data, origins = _parse(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        siblings = [file.name for file in path.parent.glob("*.yaml")]
        raise UserError(f"{path}: {suggest(path.name, siblings, 'file')}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a YAML file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: is not UTF-8 text") from None
    except _FaultError as fault:
        raise UserError(f"{path}: {fault}") from None
    return Document(path, data, origins)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) or "(whole file)"


def _origin(origins: Mapping[Place, int | str], place: Place) -> int | str:
    """Where a value came from; for one that is missing, where what should hold it came from."""
    while place and place not in origins:
        place = place[:-1]
    return origins.get(place, 1)


# ------------------------------------------------------------------ YAML to plain data


class _FaultError(Exception):
    """What is wrong with a text, said without its file's name. Lines and columns count from 1."""

    def __init__(self, message: str, mark: yaml.Mark | None = None) -> None:
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        super().__init__(where + message)


class _Loader(yaml.SafeLoader):
    """Reads plain words by YAML 1.2: in 1.1 `no` is False, 010 is 8, 12:30 is 750, 1e-4 a word."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (declared so by PyYAML)


_WORDS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
for _kind, _pattern in _WORDS.items():
    # first=None: try the pattern whatever the word begins with; the first that fits wins.
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), None
    )


def _parse(text: str) -> tuple[Any, Origins]:
    """Return plain data and the line of every key and list item in it."""
    origins: Origins = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise _FaultError("is empty")
        return _plain(node, (), origins), origins
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise _FaultError(reason, error.problem_mark or error.context_mark) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _FaultError(f"line {line}: a character that no text file has") from None
    except RecursionError:
        raise _FaultError("is nested too deeply, or within itself") from None


def _plain(node: yaml.Node, place: Place, origins: Origins) -> Any:  # noqa: ANN401
    origins.setdefault(place, node.start_mark.line + 1)
    kind = node.tag.rpartition(":")[2]
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node, place, origins)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_plain(item, (*place, i), origins) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and kind in ("str", *_WORDS):
        try:
            return _scalar(kind, node.value)
        except ValueError:
            raise _FaultError(
                f"cannot be read as {kind}: {node.value[:40]}", node.start_mark
            ) from None
    raise _FaultError(f"the tag {node.tag} means nothing here", node.start_mark)


def _scalar(kind: str, text: str) -> str | int | float | bool | None:
    if kind == "str":
        return text
    if not re.fullmatch(_WORDS[kind], text):  # an explicit tag before something else: !!int x
        raise ValueError
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text.replace(".i", "i").replace(".I", "I").lower().replace(".nan", "nan"))
    return text.lower() == "true" if kind == "bool" else None


def _mapping(node: yaml.MappingNode, place: Place, origins: Origins) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _FaultError("a key must be a word", key.start_mark)
        name = key.value  # always as written: the key `no` is "no", the key `1` is "1"
        if name in data:
            first = f"it is on line {origins[*place, name]} already"
            raise _FaultError(f"the key '{name}' is here a second time; {first}", key.start_mark)
        origins[*place, name] = key.start_mark.line + 1
        data[name] = _plain(value, (*place, name), origins)
    return data


# ------------------------------------------------------------------ the command line's changes


def _assign(data: Any, origins: Origins, assignment: str) -> None:  # noqa: ANN401
    key, _, text = assignment.partition("=")
    steps = key.strip().split(".")
    if not (text.strip() and all(steps)):
        raise _FaultError("expected KEY=VALUE, as in recipe.epochs=2 (null for no value)")
    value, _ = _parse(text)
    origin, place, inner = f"--set {key.strip()}", (), data  # type: str, Place, Any
    for step in steps[:-1]:
        at = _step(inner, step)
        place = (*place, at)
        inner = _opened(inner, at, place, origins, origin)
    at = _step(inner, steps[-1])
    inner[at] = value
    _replace(origins, (*place, at), origin)


def _step(inner: Any, step: str) -> str | int:  # noqa: ANN401
    """Return the key or index that one step of a dotted place means."""
    if isinstance(inner, dict):
        return step
    if not isinstance(inner, list):
        raise _FaultError("the file is not a mapping")
    names = [item.get("name") if isinstance(item, dict) else item for item in inner]
    if step in names:
        return names.index(step)
    if step.isdecimal() and int(step) < len(names):
        return int(step)
    raise _FaultError(f"no item '{step}' in a list of {len(names)}")


def _opened(outer: Any, at: str | int, place: Place, origins: Origins, origin: str) -> Any:  # noqa: ANN401
    """Return the value at this step, first made one that can take a field."""
    inner = outer.get(at) if isinstance(at, str) else outer[at]
    if isinstance(inner, dict | list):
        return inner
    before = _origin(origins, place)
    _replace(origins, place, origin)
    if inner is None:
        outer[at] = {}
    else:
        outer[at] = {"name": inner}
        origins[*place, "name"] = before
    return outer[at]


def _replace(origins: Origins, place: Place, origin: str) -> None:
    for old in [known for known in origins if known[: len(place)] == place]:
        del origins[old]
    origins[place] = origin
