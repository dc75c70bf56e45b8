"""Large files over HTTP: gone on with after an interruption, checked, by one process at a time.

What has come of a file waits in .downloads beside it: NAME.part, and in NAME.version how the server
tells that version of it from others, by which it is asked whether the rest still fits.
"""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

from rich import get_console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from benchmark.config.errors import UserError, explain
from benchmark.data.files.prepared import alone

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
PAUSES = (1, 5, 15, 60)
"""Seconds before another try; from the first again as soon as one brings something."""
EVERY = 30.0
"""Seconds between two lines in a log."""
BLOCK = 1 << 20
PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
"""Refusals that are worth another try, beside all of the server's own failures (5xx)."""


class BrokenError(Exception):
    """A connection that may do better the next time."""


class Part(NamedTuple):
    """What has come of a file so far."""

    content: Path
    version: Path

    def size(self) -> int:
        """Bytes that have come."""
        return self.content.stat().st_size if self.content.exists() else 0

    def remove(self) -> None:
        """Begin at the beginning, the next time."""
        self.content.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def fetch(url: str, path: Path, md5: str) -> None:
    """Put the file that is at an address at ``path``, unless it is there.

    A file that is there with another md5 is replaced. Raises ``UserError``; what has come by then
    is kept, unless its md5 is wrong, and the next call goes on from it.
    """
    folder = path.parent / ".downloads"
    part = Part(folder / f"{path.name}.part", folder / f"{path.name}.version")
    try:
        with alone(folder):
            if not path.is_file() or md5_of(path) != md5:  # somebody else may have been faster
                complete(url, path, part)
                place(url, part, path, md5)
    except OSError as error:
        error.filename = error.filename or str(part.content)
        raise UserError(f"{explain(error)} {kept(part)}") from error


def md5_of(path: Path) -> str:
    """Return a file's md5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def kept(part: Part) -> str:
    """Say what the next attempt starts with."""
    size = part.size()
    return f"{decimal(size)} of it are kept: the next attempt goes on there." if size else ""


def place(url: str, part: Part, path: Path, md5: str) -> None:
    """Put what has come in place, if it is what it should be."""
    found = md5_of(part.content)
    if found != md5:
        part.remove()
        raise UserError(
            f"What came from {url} is not the official file: its md5 is {found}, the official "
            f"file's is {md5}. It was removed, and the next attempt begins anew."
        )
    part.content.replace(path)
    part.remove()


# ---------------------------------------------------------------- the connection


def complete(url: str, path: Path, part: Part) -> None:
    """Ask for what is missing until nothing is, or until a few attempts have brought nothing."""
    furthest, pauses = part.size(), iter(PAUSES)
    since = f", from {decimal(furthest)} on" if furthest else ""
    print(f"downloading {url} to {path}{since}", flush=True)
    with Progress(*COLUMNS, disable=not get_console().is_terminal) as progress:
        meter = Meter(progress, path.name)
        while True:
            try:
                return receive(url, part, meter)
            except BrokenError as error:
                if part.size() > furthest:
                    furthest, pauses = part.size(), iter(PAUSES)
                pause = next(pauses, None)
                # Where nothing ever came, patience does not help: there is no network, say.
                if pause is None or (not furthest and isinstance(error.__cause__, URLError)):
                    raise refuse(url, error, part) from error
                print(f"{path.name}: {error}; trying again in {pause} s", flush=True)
                time.sleep(pause)


def receive(url: str, part: Part, meter: Meter) -> None:
    """Ask once, and write down what comes."""
    before = part.size()
    response = ask(url, part)
    if response is None:
        return
    with response:
        resumed = response.status == HTTPStatus.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {before}-"):
            part.remove()
            raise BrokenError("the server sent another piece than the one it was asked for")
        if before and not resumed:
            print("the server has another file by now, or sends whole ones only: starting over")
        start = before if resumed else 0
        total = None if response.length is None else start + response.length
        with part.content.open("ab" if resumed else "wb") as file:
            if not resumed:
                part.version.write_text(version(response))
            meter.start(start, total)
            for block in blocks(response):
                file.write(block)
                meter.advance(len(block))
    if total is not None and part.size() < total:
        raise BrokenError("the connection was closed half way")


def ask(url: str, part: Part) -> HTTPResponse | None:
    """Send a request for what is missing; None: nothing is."""
    request = urllib.request.Request(url, headers={"User-Agent": "kd-suite"})
    if size := part.size():
        request.add_header("Range", f"bytes={size}-")
        if part.version.exists() and (known := part.version.read_text()):
            request.add_header("If-Range", known)
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if size and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return None
            if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in PASSING:
                raise BrokenError(str(error)) from None
            raise refuse(url, error, part) from error
    except (OSError, HTTPException) as error:
        raise BrokenError(getattr(error, "reason", "") or str(error)) from error
    return response


def blocks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield what comes as it comes, so that nothing is lost when it stops."""
    try:
        while block := response.read1(BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise BrokenError(str(error)) from error


def version(response: HTTPResponse) -> str:
    """Return how a server names this version of a file, in a form that If-Range may have."""
    tag = response.headers.get("ETag", "")
    # A weak tag, W/"...", does not promise the same bytes.
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def refuse(url: str, error: Exception, part: Part) -> UserError:
    """Say that an attempt has failed."""
    return UserError(f"{url}: {error}. {kept(part)}".rstrip())


# ---------------------------------------------------------------- what is shown

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


class Meter:
    """How far a download has got: a bar on a terminal, in a log a line from time to time."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        progress.add_task(name, total=None)
        [self._task] = progress.tasks
        self._spoke = time.monotonic()

    def start(self, done: int, total: int | None) -> None:
        """Begin with this many bytes of so many (None: nobody knows)."""
        self._progress.reset(self._task.id, completed=done, total=total)

    def advance(self, count: int) -> None:
        """Count bytes that have come."""
        self._progress.update(self._task.id, advance=count)
        if self._progress.disable and time.monotonic() - self._spoke >= EVERY:
            self._spoke = time.monotonic()
            print(self.line(), flush=True)

    def line(self) -> str:
        """Say it in words."""
        task = self._task
        words = f"{task.description}: {decimal(int(task.completed))}"
        if task.total is not None:
            words += f" of {decimal(int(task.total))}"
        if task.speed:
            words += f", {decimal(int(task.speed))}/s"
        if task.time_remaining:
            words += f", {timedelta(seconds=round(task.time_remaining))} left"
        return words
