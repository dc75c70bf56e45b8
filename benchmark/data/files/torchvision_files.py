"""Official files of the data sets that torchvision knows.

torchvision's data set classes supply the addresses and the md5 checksums. This module finds the
files under the data root, downloads and unpacks those that are missing, and compares every file
with its checksum before it is read.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.errors import UserError, explain_os_error
from benchmark.data.files.download import download
from benchmark.data.files.prepared import exclusive_access
from benchmark.data.source import Presence
from benchmark.store.atomic import write_atomic


@dataclass(frozen=True)
class TorchvisionFiles:
    """The files of one of torchvision's data sets."""

    title: str
    class_name: str
    """The name of its class in torchvision.datasets."""
    folder: str
    """The folder of the unpacked files, relative to the data root."""
    megabytes: int
    """The size of the download."""
    files: Callable[[Any], list[tuple[str, str]]]
    """Maps that class to the names and md5s of the files that are read."""
    archived: bool = True
    """True: the files come in one tar file, kept beside the folder. False: one by one."""

    @property
    def dataset_class(self) -> Any:  # noqa: ANN401  (torchvision has no types)
        from torchvision import datasets  # slow to import

        return getattr(datasets, self.class_name)

    def missing(self, root: Path) -> list[str]:
        """Return the names of the files that do not exist."""
        names = [name for name, _ in self.files(self.dataset_class)]
        return [name for name in names if not (root / self.folder / name).is_file()]

    def has_archive(self, root: Path) -> bool:
        """Return whether the tar file exists; ``download`` checks whether it is intact."""
        return self.archived and (root / self.dataset_class.filename).is_file()

    def presence(self, root: Path) -> Presence:
        """Return which files exist; ``ensure_files`` checks whether they are intact."""
        missing = self.missing(root)
        todo = "unpacked" if self.has_archive(root) else f"downloaded, {self.megabytes:,} MB"
        return Presence(self.folder, tuple(missing), f"to be {todo}" if missing else "")

    def ensure_files(self, root: Path) -> Path:
        """Download and unpack what is missing; return the folder, every file in it checked.

        Raises ``UserError`` if a file cannot be obtained or is damaged.
        """
        folder = root / self.folder
        if self.files_to_fetch(root):
            try:
                with exclusive_access(folder):
                    # Again, since another process may have fetched them in the meantime.
                    if missing := self.files_to_fetch(root):
                        self.fetch_files(root, missing)
            except OSError as error:
                raise UserError(explain_os_error(error)) from error
        return folder

    def files_to_fetch(self, root: Path) -> dict[str, str]:
        """Return the md5s, by name, of files that are missing, or damaged but in the tar file.

        Raises ``UserError`` for a damaged file that cannot be unpacked again: it may be the user's
        only copy, so it is never replaced.
        """
        md5s, missing = dict(self.files(self.dataset_class)), self.missing(root)
        for name in md5s.keys() - missing:
            try:
                check_md5(root / self.folder / name, md5s[name])
            except UserError:
                if not self.has_archive(root):
                    raise
                missing.append(name)
        return {name: md5s[name] for name in missing}

    def fetch_files(self, root: Path, md5s: dict[str, str]) -> None:
        """Download these files, by name with their md5s, and unpack them."""
        folder, dataset = root / self.folder, self.dataset_class
        try:
            if self.archived:
                download([dataset.url], root / dataset.filename, dataset.tgz_md5)
                print(f"{self.title}: unpacking {', '.join(md5s)}", flush=True)
                members = [f"{self.folder}/{name}" for name in md5s]
                extract_members(root / dataset.filename, root, members)
            else:
                for name, md5 in md5s.items():
                    download([f"{mirror}{name}" for mirror in dataset.mirrors], folder / name, md5)
        except UserError as error:
            raise UserError(
                f"{self.title} lacks {', '.join(md5s)} in {folder.resolve()}. {error} If you have "
                "the files elsewhere, name their folder with --data-root or the environment "
                "variable KD_DATA."
            ) from error
        for name, md5 in md5s.items():
            check_md5(folder / name, md5)


def extract_members(archive: Path, root: Path, names: Collection[str]) -> None:
    """Write these members of a tar file under ``root``, each completely or not at all.

    Only their content is used: no other path, link, owner or mode from the archive.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in names and (file := tar.extractfile(member)):
                write_atomic(root / member.name, file.read())


def check_md5(path: Path, md5: str) -> None:
    """Raise ``UserError`` if a file's md5 is another one."""
    from torchvision.datasets.utils import calculate_md5

    actual = calculate_md5(path)
    if actual != md5:
        raise UserError(
            f"{path} is damaged: its md5 is {actual}, the official file's is {md5}. "
            "Delete it, and it will be downloaded again (or put the official file there)."
        )
