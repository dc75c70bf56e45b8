"""The verb `suites`: the suites that come with the program."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from benchmark.cli.console import DONE, make_console, print_lines
from benchmark.cli.shared_options import SUITES
from benchmark.config.document import load_document
from benchmark.config.errors import UserError
from benchmark.suite.sweeps import expand_sweeps


def suites(options: argparse.Namespace) -> int:
    """Print each suite's name, title and size."""
    print_lines(suite_lines(), make_console())
    return DONE


def suite_lines() -> Iterator[str]:
    """Yield two lines for each suite file; a damaged one is named and stops no other."""
    yield f"suites in {SUITES}:"
    for path in sorted(SUITES.glob("*.yaml")):
        try:
            data: dict[str, Any] = load_document(path).data
            rows = len(expand_sweeps(dict(data["methods"])))
            pairs, seeds = len(data["pairs"]), len(data["seeds"])
        except (UserError, KeyError, TypeError, ValueError) as error:
            yield f"{path.stem}: cannot be read ({error})"
            continue
        yield f"{path.stem}: {data.get('title', 'no title')}"
        size = (count(pairs, "pair"), count(rows, "row"), count(seeds, "seed"))
        yield f"  {' x '.join(size)} = {pairs * rows * seeds} students at most"


def count(number: int, noun: str) -> str:
    """Format a count: `1 pair`, `2 pairs`."""
    return f"{number} {noun}{'s' * (number != 1)}"
