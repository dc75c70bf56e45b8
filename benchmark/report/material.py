"""What a report is made of: read and worked out once, however much is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.report.results.outcomes import Results
from benchmark.report.results.reading import load
from benchmark.report.tables.cells import Table, tabulate


@dataclass(frozen=True)
class Material:
    """A suite's manifest, the folder of its runs, and the one that the report is written to."""

    manifest: Mapping[str, Any]
    runs: Path
    results: Path

    @cached_property
    def outcome(self) -> Results:
        """What became of every run. Raises UserError for a damaged record."""
        return load(self.manifest, self.runs)

    @cached_property
    def table(self) -> Table:
        """The table of cells, with all statistics."""
        return tabulate(self.outcome)
