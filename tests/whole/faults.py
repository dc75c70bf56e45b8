"""Every moment at which a process touches the disk, one after the other, and how it could end."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def forked(act: Callable[[], int], log: Path) -> int:
    """Return the exit code of a process of its own that has all modules loaded already."""
    pid = os.fork()
    if pid == 0:
        code = 1  # as Python has it for what nobody catches
        try:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            code = act()
        except BaseException:  # noqa: BLE001  (nothing of the test may go on in this process)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Moments:
    """Comes before, in the middle of and after every change that this process makes to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed: list[str] = []
        self.watched = True

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Come between this process and the system."""
        for name in ("replace", "link", "mkdir", "unlink", "fsync"):
            patch.setattr(os, name, self.announced(name, getattr(os, name)))
        real = io.open

        def opened(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wxa"):
                return real(path, mode, *rest, **named)
            self.announce("open", path)
            return Torn(real(path, mode, *rest, **named), self, path)

        patch.setattr(io, "open", opened)

    def announced(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(place: Any, *rest: Any, **named: Any) -> Any:
            self.announce(name, place)
            return real(place, *rest, **named)

        return call

    def announce(self, what: str, place: Any) -> None:
        path = Path(f"/proc/self/fd/{place}").readlink() if isinstance(place, int) else Path(place)
        if self.watched and self.folder in path.parents:
            self.watched = False
            try:
                self.come(f"{len(self.passed):03} {what} {path.name.rpartition('/')[2]}", path)
            finally:
                self.watched = True

    def come(self, moment: str, path: Path) -> None:
        """Do what is to happen at this moment."""
        self.passed.append(moment)


class Deaths(Moments):
    """Keeps what sudden death would leave: a process takes nothing back that it has written."""

    def __init__(self, folder: Path, kept: Path) -> None:
        super().__init__(folder)
        self.kept = kept

    def come(self, moment: str, path: Path) -> None:
        super().come(moment, path)
        shutil.copytree(self.folder, self.kept / moment)


class Death(Moments):
    """Sudden death at the first moment that is of this kind."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder)
        self.kind = kind

    def come(self, moment: str, path: Path) -> None:
        if self.kind in moment:
            os._exit(9)
        super().come(moment, path)


class Full(Moments):
    """A disk that is full from a moment on, for so many changes; what is there can be removed."""

    def __init__(self, folder: Path, start: int, length: int) -> None:
        super().__init__(folder)
        self.refused = range(start, start + length)

    def come(self, moment: str, path: Path) -> None:
        number = len(self.passed)
        super().come(moment, path)
        if number in self.refused and " unlink " not in moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Torn:
    """A file whose every write has a middle."""

    def __init__(self, file: Any, moments: Moments, path: Any) -> None:
        self.file, self.moments, self.path = file, moments, path

    def write(self, data: Any) -> int:
        half = len(data) // 2
        for name, part in (("write", data[:half]), ("write-half", data[half:])):
            self.moments.announce(name, self.path)
            self.file.write(part)
            self.file.flush()
        return len(data)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
