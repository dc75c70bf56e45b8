"""A local web server whose answers can fail in the ways that downloads must survive."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = random.Random(0).randbytes(200_000)


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        site.requested.append(self.path)
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.end_headers()
            return
        if self.path not in site.files:
            self.send_error(404)
            return
        content = site.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path in site.truncated:
            self.wfile.write(content[: len(content) // 2])
            return
        half = len(content) // 2
        self.wfile.write(content[:half])
        site.go.wait(30)
        self.wfile.write(content[half:])

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Site(ThreadingHTTPServer):
    """A web server at 127.0.0.1 with one file or more."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file": CONTENT}
        self.truncated: set[str] = set()
        """The files whose answers break off half way."""
        self.redirects: dict[str, str] = {}
        """Where these addresses lead instead."""
        self.go = threading.Event()
        """Unless it is set, answers stop half way until it is."""
        self.go.set()
        self.requested: list[str] = []

    @property
    def top(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"{self.top}/file"

    def handle_error(self, *_: object) -> None:
        """Quiet: clients that close the connection early are part of these tests."""


@pytest.fixture
def site() -> Iterator[Site]:
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
