"""Distillation methods, one paper a file; importing torch and this package, nothing more."""

from methods.check import BadMethod
from methods.registry import Spec, UnknownMethod, add_file, get, names, parse

__all__ = ["BadMethod", "Spec", "UnknownMethod", "add_file", "get", "names", "parse"]
