"""A web server with one file or more, and with whatever can go wrong."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from benchmark.data.files import download
from tests.data.test_download import Handler

CONTENT = random.Random(0).randbytes(200_000)
Patch = pytest.MonkeyPatch


class Site(ThreadingHTTPServer):
    """A web server with one file or more, and with whatever can go wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file": CONTENT}
        self.ranges = True
        self.slip = 0
        """By how much a piece begins too late."""
        self.headers = {"ETag": '"1"'}
        self.refusals: list[int] = []
        """What the next requests are answered with."""
        self.cuts: list[int] = []
        """After how many bytes the next answers break off."""
        self.go = threading.Event()
        """Unless it is set, answers stop half way until it is."""
        self.go.set()
        self.asked: list[str] = []
        self.conditions: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"

    def handle_error(self, *_: object) -> None:
        """Clients that go away are what this is about."""


@pytest.fixture
def site(monkeypatch: Patch) -> Iterator[Site]:
    monkeypatch.setattr(download, "PAUSES", (0, 0))
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.go.set()
            server.shutdown()
            thread.join()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
