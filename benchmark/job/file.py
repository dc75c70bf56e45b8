"""The file that tells a job process which runs to train, and where."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What one process is asked to do."""

    runs: list[str]
    results: str
    data: str
    device: str
    """cpu, cuda or cuda:N; for several processes, one for each: cuda:2,cuda:3."""
    plugins: list[str] = field(default_factory=list)
    """Files with methods."""

    def write(self, path: Path) -> None:
        """Write it where the job's command line will point."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what ``write`` wrote."""
        return cls(**json.loads(path.read_text()))
