"""Download official files with torchvision's downloader.

torchvision writes to the final name before it checks the file, and it never times out. Here a file
is downloaded to a temporary name in `.downloads`, beside its final place, and gets its final name
only if its md5 is right.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from benchmark.config.errors import UserError
from benchmark.data.files.prepared import exclusive_access

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


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
    """Download a file to ``path``; return what went wrong, or None if its md5 is right."""
    from torchvision.datasets.utils import download_url

    try:
        with default_timeout(TIMEOUT):
            download_url(url, path.parent, path.name, md5)
    except NETWORK_ERRORS as error:
        return str(error) or type(error).__name__
    except RuntimeError:  # from torchvision's comparison of the checksums
        return f"the file is incomplete or not the official one, whose md5 is {md5}"
    return None


@contextmanager
def default_timeout(seconds: float) -> Iterator[None]:
    """Limit how long new sockets wait: torchvision's downloader takes no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
