"""Distillation methods, one paper a file; importing torch and this package, nothing more."""

from methods.registry import Spec, UnknownMethod, add_file, get, names, parse
from methods.registry.check import BadMethod

__all__ = ["BadMethod", "Spec", "UnknownMethod", "add_file", "get", "names", "parse"]
