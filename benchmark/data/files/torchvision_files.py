"""Official files that torchvision knows: where they lie, their md5, how to get them."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.errors import UserError, explain
from benchmark.data.files.download import fetch, md5_of
from benchmark.data.files.prepared import alone
from benchmark.data.source import Presence
from benchmark.store.atomic import write_atomic


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
    packed: bool = True
    """Whether they come in one tar file, which lies beside the folder; else file by file."""

    @property
    def torchvisions(self) -> Any:  # noqa: ANN401  (torchvision has no types)
        """The class itself."""
        from torchvision import datasets  # slow to import

        return getattr(datasets, self.kind)

    def missing(self, root: Path) -> list[str]:
        """Name the files that are not there."""
        names = [name for name, _ in self.files(self.torchvisions)]
        return [name for name in names if not (root / self.folder / name).is_file()]

    def unpackable(self, root: Path) -> bool:
        """Whether there is a tar file; whether it is whole is for ``fetch`` to see."""
        return self.packed and (root / self.torchvisions.filename).is_file()

    def look(self, root: Path) -> Presence:
        """Say what is there; whether it is sound is for ``provide`` to see."""
        missing = self.missing(root)
        todo = "unpacked" if self.unpackable(root) else f"downloaded, {self.megabytes:,} MB"
        return Presence(self.folder, tuple(missing), f"to be {todo}" if missing else "")

    def provide(self, root: Path) -> Path:
        """Return the folder with all files in it, each compared with its checksum."""
        folder = root / self.folder
        if self.lacking(root):
            try:
                with alone(folder):
                    if lacking := self.lacking(root):  # somebody else may have been faster
                        self.get(root, lacking)
            except OSError as error:
                raise UserError(explain(error)) from error
        return folder

    def lacking(self, root: Path) -> dict[str, str]:
        """Return the files to get, with their md5s: missing ones, damaged ones of a tar file.

        A damaged one that cannot be unpacked again is a ``UserError``: it may be all that there is.
        """
        sums, missing = dict(self.files(self.torchvisions)), self.missing(root)
        for name in sums.keys() - missing:
            try:
                check(root / self.folder / name, sums[name])
            except UserError:
                if not self.unpackable(root):
                    raise
                missing.append(name)
        return {name: sums[name] for name in missing}

    def get(self, root: Path, lacking: dict[str, str]) -> None:
        """Download and unpack files."""
        folder, kind = root / self.folder, self.torchvisions
        try:
            if self.packed:
                fetch(kind.url, root / kind.filename, kind.tgz_md5)
                print(f"{self.title}: unpacking {', '.join(lacking)}", flush=True)
                unpack(root / kind.filename, root, [f"{self.folder}/{name}" for name in lacking])
            else:
                for name, md5 in lacking.items():
                    fetch_from([f"{mirror}{name}" for mirror in kind.mirrors], folder / name, md5)
        except UserError as error:
            raise UserError(
                f"{self.title} is neither at {folder.resolve()} nor could it be downloaded: "
                f"{error} Try again, put the official files ({', '.join(lacking)}) there, or say "
                "where they are with --data-root or the environment variable KD_DATA."
            ) from error
        for name, md5 in lacking.items():
            check(folder / name, md5)


def fetch_from(mirrors: list[str], path: Path, md5: str) -> None:
    """Download a file from the first of several addresses that has it."""
    *others, last = mirrors
    for url in others:
        try:
            return fetch(url, path, md5)
        except UserError as error:
            print(f"{error} Trying the next address.", flush=True)
    return fetch(last, path, md5)


def unpack(archive: Path, root: Path, names: Collection[str]) -> None:
    """Put these members of a tar file under a folder, each whole or not at all.

    Of the archive nothing but their content is used: no other path, link, owner or mode.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in names and (file := tar.extractfile(member)):
                write_atomic(root / member.name, file.read())


def check(path: Path, md5: str) -> None:
    """Compare a file with the official checksum."""
    found = md5_of(path)
    if found != md5:
        raise UserError(
            f"{path} is damaged: its md5 is {found}, the official file's is {md5}. "
            "Delete it, and it will be downloaded again (or put the official file there)."
        )
