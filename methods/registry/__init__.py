"""The registry: methods of this package, of installed packages, and of files added by path.

A suite selects a method by a *specification*: `kd`, `ab@crd` (with a preset's values instead of
the defaults), or `at+kd` (a composition, see ``methods/registry/composition.py``). Imports torch
and ``methods`` only. ``check.py`` validates what is registered.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import linecache
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.interface import Method
from methods.registry.check import BadMethod, describe_import_error, find_faults, source_line
from methods.registry.composition import compose

ENTRY_POINTS = "kd_suite.methods"
NO_METHOD = {"interface"}
"""Modules of `methods` without a method. Packages such as `blocks` are skipped anyway."""

_added: dict[str, type[Method]] = {}
_sources: dict[str, tuple[str, str]] = {}
"""File name and sha256 of the source that each plug-in's module was made from."""


class UnknownMethod(ValueError):  # noqa: N818
    """There is no method (or preset) ``name``; ``options`` lists those that exist."""

    def __init__(self, name: str, options: Iterable[str], what: str = "method") -> None:
        self.name, self.options, self.what = name, sorted(options), what
        super().__init__(f"no such {what}: {name!r}. There are: {', '.join(self.options)}")


@dataclass(frozen=True)
class Spec:
    """A parsed specification: the method's class and its parameters before a suite's changes."""

    text: str
    """The specification as written."""
    name: str
    """Equal for equal parameters: `kd@crd` has the name `kd`, because their values are equal."""
    kind: type[Method]
    defaults: dict[str, Any]
    """Plain data. A suite must set any field of ``kind.Config`` that is not in here."""


def names() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(_registry())


def get(name: str) -> type[Method]:
    """Return the method of that name or specification. Raises ``UnknownMethod``."""
    return parse(name).kind


def parse(text: str) -> Spec:
    """Parse a specification.

    Raises ``UnknownMethod``, and ValueError for methods that cannot be composed.
    """
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
    defaults = asdict(kind.Config())
    if not at:
        return Spec(text, name, kind, defaults)
    if preset not in kind.presets:
        options = [f"{name}@{other}" for other in kind.presets] or [name]
        raise UnknownMethod(text, options, f"preset of {name}")
    values = asdict(kind.presets[preset])
    return Spec(text, name if values == defaults else text, kind, values)


# ---------------------------------------------------------------- where methods come from


def add_file(path: Path) -> list[str]:
    """Register the methods of a file and return their names. Raises ``BadMethod``.

    The file is run. So a file may only be one that the user names, on the command line or in a
    suite file, and never one that a results folder names.
    """
    # Of two files with one name, each has its own module, so that neither replaces the other.
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:10]
    name = f"kd_plugin_{path.stem}_{place}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader) or not path.is_file():
        raise BadMethod([f"{path}: no such Python file"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses resolve the types of their fields there
    try:
        # Not by the loader's `exec_module`: of a file that changed within a second, it may run
        # the byte code of before, which is not what the hash is of.
        source = path.read_bytes()
        linecache.checkcache(str(path))
        exec(spec.loader.source_to_code(source, str(path)), vars(module))
    except Exception as error:
        raise BadMethod([describe_import_error(error, path)]) from error
    methods = _methods_of(module)
    if not methods:
        raise BadMethod([f"{path}: defines no subclass of methods.interface.Method"])
    # A file that is added again replaces the methods that it had registered.
    others = {k: m for k, m in _registry().items() if m.__module__ != name}
    _check_names_are_free(methods, others)
    for former in [k for k, m in _added.items() if m.__module__ == name]:
        del _added[former]
    _added.update({method.name: method for method in methods})
    _sources[name] = (path.name, hashlib.sha256(source).hexdigest())
    _registry.cache_clear()
    return [method.name for method in methods]


def plugin_sources(text: str) -> dict[str, str]:
    """Return the sha256 of the source of each plug-in that a specification needs, by file name.

    Plug-ins are files that were added and modules of other packages. It is empty for methods of
    this package. Raises ``UnknownMethod``.
    """
    names = [part.partition("@")[0].strip() for part in text.split("+")]
    kinds = [_parse_one(name).kind for name in names]
    return dict(sorted(_source_of(k) for k in kinds if k.__module__.split(".")[0] != "methods"))


def _source_of(kind: type[Method]) -> tuple[str, str]:
    if kind.__module__ in _sources:
        return _sources[kind.__module__]
    file = getattr(sys.modules[kind.__module__], "__file__", None)
    content = Path(file).read_bytes() if file else b""
    return f"{kind.__module__}.py", hashlib.sha256(content).hexdigest()


@cache
def _registry() -> dict[str, type[Method]]:
    """Return every method by name."""
    registry = {method.name: method for method in _built_in_methods()}
    for method in [*_entry_point_methods(), *_added.values()]:
        _check_names_are_free([method], registry)
        registry[method.name] = method
    return registry


def _built_in_methods() -> Iterator[type[Method]]:
    for info in pkgutil.iter_modules(sys.modules["methods"].__path__):
        if info.ispkg or info.name in NO_METHOD:
            continue
        module = importlib.import_module(f"methods.{info.name}")
        defined = _methods_of(module)
        if defined and [method.name for method in defined] != [info.name]:
            listing = ", ".join(f"{m.__name__} (name = {m.name!r})" for m in defined)
            raise BadMethod(
                [f"{module.__file__} must define one Method, with name = {info.name!r}; "
                 f"it defines {listing}"]
            )  # fmt: skip
        yield from defined


def _entry_point_methods() -> Iterator[type[Method]]:
    """Yield the methods of installed packages. An entry point names a module or a class."""
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            loaded = entry.load()
        except Exception as error:
            raise BadMethod([f"entry point {entry.name} = {entry.value}: {error}"]) from error
        if isinstance(loaded, ModuleType):
            yield from _methods_of(loaded)
        elif isinstance(loaded, type) and issubclass(loaded, Method):
            if wrong := find_faults(loaded):
                raise BadMethod(wrong)
            yield loaded
        else:
            raise BadMethod(
                [f"entry point {entry.name} = {entry.value}: neither a module nor a Method"]
            )


def _methods_of(module: ModuleType) -> list[type[Method]]:
    """Return the methods that a module defines. Raises ``BadMethod`` with all of their faults."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    if wrong := [fault for method in own for fault in find_faults(method)]:
        raise BadMethod(wrong)
    return own


def _check_names_are_free(
    methods: Iterable[type[Method]], registry: dict[str, type[Method]]
) -> None:
    taken = dict(registry)
    for method in methods:
        other = taken.setdefault(method.name, method)
        if other is not method:
            raise BadMethod(
                [f"{source_line(method)}: {method.__name__} is named '{method.name}', and so is "
                 f"{other.__name__} in {source_line(other)}. Choose another name."]
            )  # fmt: skip
