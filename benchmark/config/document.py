"""Read YAML files into plain data, and remember the line of each value for error messages."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from benchmark.config.errors import KeyPath, Problem, UserError, suggest

MAX_BYTES = 500_000
MAX_VALUES = 200_000
"""The largest number of values in a file. Aliases of aliases can stand for billions of them."""
MAX_DEPTH = 20
"""How deep values may be nested."""
MAX_PROBLEMS = 50
"""How many problems of a file are listed."""
Origins = dict[KeyPath, int | str]
"""For each path in the data: the line in the file, or the `--set KEY` that set the value."""


@dataclass(frozen=True)
class Document:
    """The data of a YAML file, with the changes of the command line applied."""

    path: Path
    data: Any
    """Nested dict, list, str, int, float, bool, None."""
    origins: Mapping[KeyPath, int | str]

    def with_overrides(self, assignments: Iterable[str]) -> Document:
        """Return a copy with assignments (`recipe.epochs=2`) applied: dotted path = YAML value.

        A path into a string treats the string as {"name": string}: with `dataset: digits`,
        `dataset.limit=100` gives {"name": "digits", "limit": 100}. In a list, a step is an index
        from 0 or the name of an item. Raises UserError for an assignment that cannot be applied.
        """
        data, origins = copy.deepcopy(self.data), dict(self.origins)
        for assignment in assignments:
            try:
                _assign(data, origins, assignment)
            except _YamlError as error:
                raise UserError(f"--set {assignment}: {error}") from None
        changed = Document(self.path, data, origins)
        changed.require_finite()
        return changed

    def require_finite(self) -> None:
        """Raise UserError that lists all NaN and infinite numbers: no field takes one."""
        values = list(_numbers(self.data, ()))
        if any(not math.isfinite(number) for _, number in values):
            self.fail(
                Problem(path, f"must be a finite number, got .{str(number).lstrip('-')}")
                for path, number in values
                if not math.isfinite(number)
            )

    def fail(self, problems: Iterable[Problem]) -> NoReturn:
        """Raise one UserError that lists all problems, in the order of their lines in the file."""
        rows = [(_origin(self.origins, problem.where), problem) for problem in problems]
        rows.sort(key=lambda row: (isinstance(row[0], str), row[0]))  # lines, then options
        cells = [
            (f"line {o}" if isinstance(o, int) else o, _dotted(where), message)
            for o, (where, message) in rows
        ]
        count = f"{len(cells)} problem{'s' if len(cells) > 1 else ''}"
        if len(cells) > MAX_PROBLEMS:
            cells, count = cells[:MAX_PROBLEMS], f"{count}, of which the first {MAX_PROBLEMS} are"
        widths = [max(len(cell[column]) for cell in cells) for column in (0, 1)]
        body = (f"  {o:{widths[0]}}  {w:{widths[1]}}   {message}" for o, w, message in cells)
        raise UserError("\n".join([f"{self.path}: {count}", *body]))


def load_document(path: Path) -> Document:
    """Read a YAML file. Raises UserError if it is missing, empty or malformed."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # reading one may never end
            raise UserError(f"{path}: is not a regular file")
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise UserError(
                f"{path}: is larger than {MAX_BYTES // 1000} kB, as no suite or machine file is"
            )
        data, origins = _parse(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        siblings = [file.name for file in path.parent.glob("*.yaml")]
        raise UserError(f"{path}: {suggest(path.name, siblings, 'file')}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a YAML file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: is not UTF-8 text") from None
    except _YamlError as error:
        raise UserError(f"{path}: {error}") from None
    document = Document(path, data, origins)
    document.require_finite()
    return document


def _numbers(data: object, path: KeyPath) -> Iterator[tuple[KeyPath, float]]:
    """Yield all numbers with a decimal point, and their paths."""
    children = enumerate(data) if isinstance(data, list) else ()
    for key, value in data.items() if isinstance(data, dict) else children:
        yield from _numbers(value, (*path, key))
    if isinstance(data, float):
        yield path, data


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "(whole file)"


def _origin(origins: Mapping[KeyPath, int | str], path: KeyPath) -> int | str:
    """Return the origin of a value; for a missing value, the origin of what should contain it."""
    while path and path not in origins:
        path = path[:-1]
    return origins.get(path, 1)


# ------------------------------------------------------------------ YAML to plain data


class _YamlError(Exception):
    """A mistake in a YAML text; the message lacks the file name. Lines and columns count from 1."""

    def __init__(self, message: str, mark: yaml.Mark | None = None) -> None:
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        super().__init__(where + message)


class _Loader(yaml.SafeLoader):
    """Reads scalars by YAML 1.2. In 1.1, no is False, 010 is 8, 12:30 is 750 and 1e-4 is a str."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (declared so by PyYAML)


_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
for _kind, _pattern in _SCALARS.items():
    # first=None: try the pattern whatever the first character is; the first match wins.
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), None
    )


def _parse(text: str) -> tuple[Any, Origins]:
    """Return plain data, and the line of every key and list item in it."""
    converter = _Converter()
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise _YamlError("is empty")
        return converter.convert(node, ()), converter.origins
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise _YamlError(reason, error.problem_mark or error.context_mark) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _YamlError(f"line {line}: a character that is not allowed in YAML") from None
    except RecursionError:
        raise _YamlError("is nested too deeply, or contains itself") from None


class _Converter:
    """Turns YAML nodes into plain data, and notes the line of every key and list item."""

    def __init__(self) -> None:
        self.origins: Origins = {}
        self.count = 0

    def convert(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        self.count += 1
        if self.count > MAX_VALUES:
            raise _YamlError(f"more than {MAX_VALUES:,} values", node.start_mark)
        if len(path) > MAX_DEPTH:
            raise _YamlError(f"is nested more than {MAX_DEPTH} deep", node.start_mark)
        self.origins.setdefault(path, node.start_mark.line + 1)
        kind = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.convert(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in ("str", *_SCALARS):
            try:
                return _scalar(kind, _readable(node))
            except ValueError:
                raise _YamlError(
                    f"cannot be read as {kind}: {node.value[:40]}", node.start_mark
                ) from None
        raise _YamlError(f"the tag {node.tag} is not supported", node.start_mark)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """Return a mapping. Keys of its own replace those that `<<: *anchor` merges into it."""
        data: dict[str, Any] = {}
        for key, value in node.value:
            if _is_merge(key):
                # Of several mappings, the first one's keys count: convert it last.
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in reversed(parts):
                    if not isinstance(part, yaml.MappingNode):
                        problem = "<< takes a mapping or a list of mappings"
                        raise _YamlError(problem, part.start_mark)
                    data |= self.convert(part, path)
        own: set[str] = set()
        for key, value in node.value:
            if _is_merge(key):
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise _YamlError("a key must be text", key.start_mark)
            name = _readable(key)  # keys stay strings: the key `no` is "no", the key `1` is "1"
            if name in own:
                first = f"it is already on line {self.origins[*path, name]}"
                raise _YamlError(f"the key '{name}' is repeated; {first}", key.start_mark)
            own.add(name)
            self.origins[*path, name] = key.start_mark.line + 1
            data[name] = self.convert(value, (*path, name))
        return data


def _readable(node: yaml.ScalarNode) -> str:
    """Return a scalar's text. Raises _YamlError for what no terminal or file could show."""
    text: str = node.value
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text):
        raise _YamlError("a control character, or half of a character", node.start_mark)
    return text


def _is_merge(key: yaml.Node) -> bool:
    """Return whether a key is YAML's merge key, as in `<<: *defaults`; "<<" in quotes is none."""
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None


def _scalar(kind: str, text: str) -> str | int | float | bool | None:
    if kind == "str":
        return text
    if not re.fullmatch(_SCALARS[kind], text):  # an explicit tag that does not fit: !!int x
        raise ValueError
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text.replace(".i", "i").replace(".I", "I").lower().replace(".nan", "nan"))
    return text.lower() == "true" if kind == "bool" else None


# ------------------------------------------------------------------ the command line's changes


def _assign(data: Any, origins: Origins, assignment: str) -> None:  # noqa: ANN401
    key, _, text = assignment.partition("=")
    steps = key.strip().split(".")
    if len(steps) > MAX_DEPTH:
        raise _YamlError(f"is nested more than {MAX_DEPTH} deep")
    if not (text.strip() and all(steps)):
        raise _YamlError("expected KEY=VALUE, as in recipe.epochs=2 (null for no value)")
    value, _ = _parse(text)
    origin, path, inner = f"--set {key.strip()}", (), data  # type: str, KeyPath, Any
    for step in steps[:-1]:
        at = _step(inner, step)
        path = (*path, at)
        inner = _as_container(inner, at, path, origins, origin)
    at = _step(inner, steps[-1])
    inner[at] = value
    _replace(origins, (*path, at), origin)


def _step(inner: Any, step: str) -> str | int:  # noqa: ANN401
    """Return the key or index that one step of a dotted path refers to."""
    if isinstance(inner, dict):
        return step
    if not isinstance(inner, list):
        raise _YamlError("the file is not a mapping")
    names = [item.get("name") if isinstance(item, dict) else item for item in inner]
    if step in names:
        return names.index(step)
    if step.isdecimal() and int(step) < len(names):
        return int(step)
    raise _YamlError(f"no item '{step}' in a list of {len(names)}")


def _as_container(outer: Any, at: str | int, path: KeyPath, origins: Origins, origin: str) -> Any:  # noqa: ANN401
    """Return the value at this step; a value that cannot hold fields first becomes a mapping."""
    inner = outer.get(at) if isinstance(at, str) else outer[at]
    if isinstance(inner, dict | list):
        return inner
    before = _origin(origins, path)
    _replace(origins, path, origin)
    if inner is None:
        outer[at] = {}
    else:
        outer[at] = {"name": inner}
        origins[*path, "name"] = before
    return outer[at]


def _replace(origins: Origins, path: KeyPath, origin: str) -> None:
    for old in [known for known in origins if known[: len(path)] == path]:
        del origins[old]
    origins[path] = origin
