"""The inputs of a report, and what is computed from them once for all of its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.report.results.outcomes import Results
from benchmark.report.results.reading import load_results
from benchmark.report.tables.cells import Table, tabulate


@dataclass(frozen=True)
class ReportData:
    """A suite's manifest, the folder of its run folders, and the folder to write the report to."""

    manifest: Mapping[str, Any]
    runs_folder: Path
    results_folder: Path

    @cached_property
    def results(self) -> Results:
        """The outcome of every run. Raises UserError: a record is damaged."""
        return load_results(self.manifest, self.runs_folder)

    @cached_property
    def table(self) -> Table:
        """The cells of the suite's tables, with all statistics."""
        return tabulate(self.results)
