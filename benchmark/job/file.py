"""The job file: which runs a job process trains, with which data, results folder and device."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.store.atomic import encode_json, write_atomic
from benchmark.store.fields import read_fields


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
    digest: str = ""
    """The digest of the suite that the job was started for; empty in files of older versions."""

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode_json(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Return a file's content. Raises DamagedFileError if it is no job file."""
        return read_fields(cls, path)
