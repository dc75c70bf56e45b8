"""The job file: which runs a job process trains, with which data, results folder and device."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.store.atomic import encode_json, write_atomic


@dataclass(frozen=True)
class Job:
    """The content of a job file."""

    runs: list[str]
    results: str
    data: str
    device: str
    """cpu, cuda or cuda:N; for several processes, one device each: cuda:2,cuda:3."""
    plugins: list[str] = field(default_factory=list)
    """Python files that define methods."""

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode_json(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        return cls(**json.loads(path.read_text()))
