"""Distillation methods, one paper a file; importing torch and this package, nothing more."""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType

from methods.interface import Method

__all__ = ["UnknownMethod", "get", "names"]


class UnknownMethod(ValueError):  # noqa: N818
    """No method of that ``name``; ``options`` are those there are."""

    def __init__(self, name: str, options: Iterable[str]) -> None:
        self.name, self.options = name, sorted(options)
        super().__init__(f"no such method: {name!r}. There are: {', '.join(self.options)}")


def names() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(_registry())


def get(name: str) -> type[Method]:
    """Return the method of that name. Raises ``UnknownMethod`` where there is none."""
    try:
        return _registry()[name]
    except KeyError:
        raise UnknownMethod(name, _registry()) from None


@cache
def _registry() -> dict[str, type[Method]]:
    """Every method by name: a file of this package that defines one is all it takes to add it."""
    modules = (
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    )
    return {method.name: method for module in modules for method in _defined_in(module)}


def _defined_in(module: ModuleType) -> list[type[Method]]:
    """Return the module's method, if any. Raises TypeError where its name is not the file's."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value is not Method
        and value.__module__ == module.__name__
    ]
    stem = module.__name__.rpartition(".")[2]
    if own and [getattr(method, "name", None) for method in own] != [stem]:
        raise TypeError(
            f"{module.__file__} must define one Method, with name = {stem!r}; it defines "
            + ", ".join(
                f"{method.__name__} (name = {getattr(method, 'name', None)!r})" for method in own
            )
        )
    return own
