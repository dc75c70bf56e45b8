"""Official files that torchvision knows: where they lie, their md5, how to get them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.source import Presence
from benchmark.errors import UserError


@dataclass(frozen=True)
class Official:
    """One data set of torchvision's."""

    title: str
    kind: str
    """Its class in torchvision.datasets, which knows the addresses and checksums."""
    folder: str
    """Where under the data root its files lie, as torchvision unpacks them."""
    megabytes: int
    """Of what is downloaded."""
    files: Callable[[Any], list[tuple[str, str]]]
    """Of that class: the names and md5s of the files that are read."""
    download: Callable[[Any, Path], object]
    """Fetch and unpack to a data root."""

    @property
    def torchvisions(self) -> Any:  # noqa: ANN401  (torchvision has no types)
        """The class itself."""
        from torchvision import datasets  # slow to import

        return getattr(datasets, self.kind)

    def missing(self, root: Path) -> list[str]:
        """Name the files that are not there."""
        names = [name for name, _ in self.files(self.torchvisions)]
        return [name for name in names if not (root / self.folder / name).is_file()]

    def look(self, root: Path) -> Presence:
        """Say what is there; whether it is sound is for ``provide`` to see."""
        missing = self.missing(root)
        todo = f"to be downloaded, {self.megabytes:,} MB" if missing else ""
        return Presence(self.folder, tuple(missing), todo)

    def provide(self, root: Path) -> Path:
        """Return the folder with all files in it, each compared with its checksum."""
        missing, sums = self.missing(root), dict(self.files(self.torchvisions))
        folder = root / self.folder
        for name in sums.keys() - missing:
            check(folder / name, sums[name])
        if missing:
            self.fetch(root, missing)
        for name in missing:
            check(folder / name, sums[name])
        return folder

    def fetch(self, root: Path, missing: list[str]) -> None:
        """Let torchvision download and unpack it."""
        print(
            f"{self.title} is not at {root.resolve()}; downloading it ({self.megabytes:,} MB)",
            flush=True,
        )
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.download(self.torchvisions, root)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{self.title} is neither at {(root / self.folder).resolve()} nor could it be "
                f"downloaded ({error}). Put the official files ({', '.join(missing)}) there, or "
                "say where they are with --data-root or the environment variable KD_DATA."
            ) from error


def check(path: Path, md5: str) -> None:
    """Compare a file with the official checksum."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise UserError(
            f"{path} is damaged: its md5 is {found}, the official file's is {md5}. "
            "Delete it, and it will be downloaded again (or put the official file there)."
        )
