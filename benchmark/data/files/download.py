"""Download official files.

torchvision's downloader writes to the final name before it checks the file, never times out, and
tries an address again without TLS if it fails. Here a file is downloaded to a temporary name in
`.downloads`, beside its final place, and gets its final name only if its md5 is right.
"""

from __future__ import annotations

import secrets
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

from benchmark.config.errors import UserError
from benchmark.data.files.prepared import exclusive_access

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
CHUNK = 2**16
"""Bytes read at a time."""


class NetworkError(Exception):
    """An address does not deliver a file: any error of connecting, of TLS, or of reading."""


def download(urls: Sequence[str], path: Path, md5: str) -> None:
    """Put the file with this md5 at ``path``, from the first address that delivers it.

    Does nothing if the file is there. A file with another md5 is replaced, but only by the right
    one. Processes that want the same file wait for each other. Raises ``UserError`` if no address
    delivers the file, and ``OSError`` if it cannot be written.
    """
    from torchvision.datasets.utils import check_integrity  # slow to import

    folder = path.parent / ".downloads"
    with exclusive_access(folder):
        if check_integrity(path, md5):
            return
        for leftover in folder.glob(f"{path.name}.*.part"):  # of a process that was killed
            leftover.unlink()
        temp = folder / f"{path.name}.{secrets.token_hex(4)}.part"
        failures = []
        try:
            for url in urls:
                print(f"downloading {url} to {path}", flush=True)
                failure = download_once(url, temp, md5)
                if failure is None:
                    temp.replace(path)
                    return
                failures.append(f"{url}: {failure}")
        finally:
            temp.unlink(missing_ok=True)
    raise UserError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}). "
        f"Try again, or download it yourself and save it as {path.resolve()}."
    )


def download_once(url: str, path: Path, md5: str) -> str | None:
    """Download a file to ``path``; return what went wrong, or None if its md5 is right.

    Raises ``OSError`` if the file cannot be written.
    """
    from torchvision.datasets.utils import check_integrity

    try:
        save(url, path)
    except NetworkError as error:
        return str(error)
    if not check_integrity(path, md5):
        return f"the file is incomplete or not the official one, whose md5 is {md5}"
    return None


def save(url: str, path: Path) -> None:
    """Write what an address delivers to a file, with a progress bar."""
    from torch.hub import tqdm  # type: ignore[attr-defined]  # torch's own if tqdm is missing

    with path.open("wb") as file, closing(receive(url)) as parts:
        total, _ = next(parts)
        with tqdm(total=total, unit="B", unit_scale=True) as bar:
            for _, content in parts:
                file.write(content)
                bar.update(len(content))


def receive(url: str) -> Generator[tuple[int | None, bytes]]:
    """Yield (size of the file, nothing) first, then (size, content) piece by piece.

    The size is None if the server does not state it. Every ``OSError`` raised here is the
    network's, because nothing is written here.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "KD suite"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            size: int | None = response.length
            yield size, b""
            while content := response.read(CHUNK):
                yield size, content
    except (OSError, HTTPException) as error:
        raise NetworkError(str(error) or type(error).__name__) from error
