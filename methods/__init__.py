"""Distillation methods, one file for each paper; what they share is in ``blocks``.

Imports torch and itself only. Read ``interface.py`` first, then ``kd.py``.
"""

from methods.registry import Spec, UnknownMethod, add_file, get, names, parse, plugin_sources
from methods.registry.check import BadMethod

__all__ = [
    "BadMethod",
    "Spec",
    "UnknownMethod",
    "add_file",
    "get",
    "names",
    "parse",
    "plugin_sources",
]
