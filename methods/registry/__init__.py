"""Which methods there are: those of this package, of installed packages, and of files by path.

A *specification* is what a suite may write: `kd`, `ab@crd` (a method with a preset's values in
place of its defaults), `at+kd` (a composition, see ``methods/registry/composition.py``).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.interface import Method
from methods.registry.check import BadMethod, breakage, faults, place
from methods.registry.composition import compose

ENTRY_POINTS = "kd_suite.methods"
NO_METHOD = {"interface"}
"""Modules of `methods` that hold no method; packages never do."""

_added: dict[str, type[Method]] = {}


class UnknownMethod(ValueError):  # noqa: N818
    """No method (or preset) of that ``name``; ``options`` are those there are."""

    def __init__(self, name: str, options: Iterable[str], what: str = "method") -> None:
        self.name, self.options, self.what = name, sorted(options), what
        super().__init__(f"no such {what}: {name!r}. There are: {', '.join(self.options)}")


@dataclass(frozen=True)
class Spec:
    """A method and the values that it starts from."""

    text: str
    """As it was written."""
    name: str
    """Of equal specifications the same: `kd@crd` is `kd`, whose defaults its values are."""
    kind: type[Method]
    defaults: dict[str, Any]
    """Plain data; where ``kind.Config`` has fields beyond these, a suite must give them."""


def names() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(_registry())


def get(name: str) -> type[Method]:
    """Return the method of that name or specification. Raises ``UnknownMethod``."""
    return parse(name).kind


def parse(text: str) -> Spec:
    """Read a specification. Raises ``UnknownMethod``, or ValueError for what cannot be composed."""
    parts = [_parse_one(part.strip()) for part in text.split("+")]
    if len(parts) == 1:
        return parts[0]
    name = "+".join(part.name for part in parts)
    kind = compose(name, tuple(part.kind for part in parts))
    return Spec(text, name, kind, {part.kind.name: part.defaults for part in parts})


def _parse_one(text: str) -> Spec:
    name, at, preset = text.partition("@")
    try:
        kind = _registry()[name]
    except KeyError:
        raise UnknownMethod(name, _registry()) from None
    usual = asdict(kind.Config())
    if not at:
        return Spec(text, name, kind, usual)
    if preset not in kind.presets:
        options = [f"{name}@{other}" for other in kind.presets] or [name]
        raise UnknownMethod(text, options, f"preset of {name}")
    values = asdict(kind.presets[preset])
    return Spec(text, name if values == usual else text, kind, values)


# ---------------------------------------------------------------- where methods come from


def add_file(path: Path) -> list[str]:
    """Register the methods of a file and return their names. Raises ``BadMethod``."""
    name = f"kd_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BadMethod([f"{path}: no such Python file"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the types of their fields
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadMethod([breakage(error, path)]) from error
    found = _checked(module)
    if not found:
        raise BadMethod([f"{path}: defines no subclass of methods.interface.Method"])
    # A file that is given a second time replaces what it had registered.
    others = {k: m for k, m in _registry().items() if m.__module__ != name}
    _refuse_clashes(found, others)
    _added.update({method.name: method for method in found})
    _registry.cache_clear()
    return [method.name for method in found]


@cache
def _registry() -> dict[str, type[Method]]:
    """Every method by name: a file of this package that defines one is all it takes to add it."""
    registry = {method.name: method for method in _built_in()}
    for method in [*_installed(), *_added.values()]:
        _refuse_clashes([method], registry)
        registry[method.name] = method
    return registry


def _built_in() -> Iterator[type[Method]]:
    for info in pkgutil.iter_modules(sys.modules["methods"].__path__):
        if info.ispkg or info.name in NO_METHOD:
            continue
        module = importlib.import_module(f"methods.{info.name}")
        found = _checked(module)
        if found and [method.name for method in found] != [info.name]:
            is_there = ", ".join(f"{m.__name__} (name = {m.name!r})" for m in found)
            raise BadMethod(
                [f"{module.__file__} must define one Method, with name = {info.name!r}; "
                 f"it defines {is_there}"]
            )  # fmt: skip
        yield from found


def _installed() -> Iterator[type[Method]]:
    """Methods of other packages: an entry point names a module, or one class of it."""
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            loaded = entry.load()
        except Exception as error:
            raise BadMethod([f"entry point {entry.name} = {entry.value}: {error}"]) from error
        if isinstance(loaded, ModuleType):
            yield from _checked(loaded)
        elif isinstance(loaded, type) and issubclass(loaded, Method):
            if wrong := faults(loaded):
                raise BadMethod(wrong)
            yield loaded
        else:
            raise BadMethod([f"entry point {entry.name} = {entry.value}: no module and no Method"])


def _checked(module: ModuleType) -> list[type[Method]]:
    """Return the methods that a module defines. Raises ``BadMethod`` with all that is wrong."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    if wrong := [fault for method in own for fault in faults(method)]:
        raise BadMethod(wrong)
    return own


def _refuse_clashes(found: Iterable[type[Method]], registry: dict[str, type[Method]]) -> None:
    taken = dict(registry)
    for method in found:
        other = taken.setdefault(method.name, method)
        if other is not method:
            raise BadMethod(
                [f"{place(method)}: {method.__name__} is named '{method.name}', and so is "
                 f"{other.__name__} in {place(other)}. Choose another name."]
            )  # fmt: skip
