"""Downloads are checked, come from the first mirror that works, and are safe side by side."""

from __future__ import annotations

import errno
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.config.errors import UserError, explain_os_error
from benchmark.data.files import download as module
from benchmark.data.files.download import download
from tests.cli.command import ROOT
from tests.data.web_server import CONTENT, Site, md5, site

__all__ = ["site"]  # a fixture


def get(site: Site, folder: Path, content: bytes = CONTENT) -> None:
    download([site.url], folder / "file", md5(content))
    assert (folder / "file").read_bytes() == content


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_downloaded_once_and_nothing_else_stays(site, tmp_path):
    get(site, tmp_path)
    requests = len(site.requested)
    get(site, tmp_path)
    assert len(site.requested) == requests
    assert files_in(tmp_path) == {"file"}


def test_the_progress_of_a_download_is_visible(site, tmp_path, capfd):
    get(site, tmp_path)
    out, err = capfd.readouterr()
    assert f"downloading {site.url} to {tmp_path}/file" in out
    # torch's own line, or the bar of tqdm where that is installed
    assert re.search(r"100%.*200k/200k" if find_spec("tqdm") else r"\r98\.3%\r100\.0%\n", err)


def test_a_file_with_a_wrong_md5_is_refused_and_the_old_one_stays(site, tmp_path):
    (tmp_path / "file").write_text("what was there before")
    other = md5(CONTENT[::-1])
    with pytest.raises(UserError, match=rf"not the official one, whose md5 is {other}"):
        get(site, tmp_path, CONTENT[::-1])
    assert files_in(tmp_path) == {"file"}
    assert (tmp_path / "file").read_text() == "what was there before"


def test_a_download_that_breaks_off_leaves_no_file(site, tmp_path):
    site.truncated = {"/file"}
    with pytest.raises(UserError, match="the file is incomplete"):
        get(site, tmp_path)
    assert files_in(tmp_path) == set()


def test_a_full_disk_is_reported_and_nothing_is_left(site, tmp_path, monkeypatch):
    folder = tmp_path / ".downloads"

    def token_of_a_file_on_a_full_disk(_: int) -> str:
        (folder / "file.full.part").symlink_to("/dev/full")
        return "full"

    secrets = SimpleNamespace(token_hex=token_of_a_file_on_a_full_disk)
    monkeypatch.setattr("benchmark.data.files.download.secrets", secrets)
    with pytest.raises(OSError, match="No space left on device") as caught:
        get(site, tmp_path)
    assert "Free some space" in explain_os_error(caught.value)
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    assert not (tmp_path / "file").exists()


def test_a_damaged_file_is_replaced_by_the_official_one(site, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    get(site, tmp_path)


@pytest.mark.parametrize("broken", ["absent", "truncated", "wrong", "unreachable"])
def test_the_next_mirror_is_tried_where_one_fails(site, tmp_path, broken):
    site.files["/1/file"] = CONTENT[::-1] if broken == "wrong" else CONTENT
    site.truncated = {"/1/file"} if broken == "truncated" else set()
    first = {"absent": f"{site.top}/2/file", "unreachable": "http://127.0.0.1:1/file"}
    urls = [first.get(broken, f"{site.top}/1/file"), site.url]
    download(urls, tmp_path / "file", md5(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


FAILURES = [
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETDOWN, "Network is down"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    http.client.BadStatusLine("?"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_whatever_fails_in_the_network_the_next_mirror_is_tried(
    site, tmp_path, monkeypatch, failure
):
    real = socket.create_connection

    def connect(address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        if address[0] == "mirror.invalid":
            raise failure
        return real(address, *more, **options)

    monkeypatch.setattr(socket, "create_connection", connect)
    download(["http://mirror.invalid/file", site.url], tmp_path / "file", md5(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_five_redirects_are_followed_and_a_circle_is_named(site, tmp_path):
    site.redirects = {f"/{k}": f"/{k + 1}" for k in range(4)} | {"/4": "/file", "/x": "/x"}
    download([f"{site.top}/0"], tmp_path / "file", md5(CONTENT))
    with pytest.raises(UserError, match="infinite loop"):
        download([f"{site.top}/x"], tmp_path / "other", md5(CONTENT))


def test_tls_is_never_given_up_and_no_timeout_stays_set(site, tmp_path):
    url = site.url.replace("http:", "https:")
    with pytest.raises(UserError, match="could not be downloaded"):
        download([url], tmp_path / "file", md5(CONTENT))
    assert site.requested == []
    assert socket.getdefaulttimeout() is None


def test_without_a_network_one_message_names_file_addresses_and_place(tmp_path):
    with Site() as one, Site() as two:
        urls = [one.url, two.url]
    with pytest.raises(UserError) as error:
        download(urls, tmp_path / "file", md5(CONTENT))
    message = str(error.value)
    assert message.startswith("file could not be downloaded")
    assert message.count("Connection refused") == 2
    assert all(url in message for url in urls)
    assert message.endswith(f"save it as {tmp_path}/file.")


def test_a_server_that_falls_silent_is_given_up(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    site.go.clear()
    with pytest.raises(UserError, match="timed out"):
        get(site, tmp_path)
    assert files_in(tmp_path) == set()


def another_process(site: Site, folder: Path) -> subprocess.Popen[bytes]:
    """Start a download in a process of its own; return when half of the file has come."""
    site.go.clear()
    code = (
        "import sys; from pathlib import Path; from benchmark.data.files.download import download; "
        "download([sys.argv[1]], Path(sys.argv[2]), sys.argv[3])"
    )
    arguments = [site.url, str(folder / "file"), md5(CONTENT)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT)
    until = time.monotonic() + 120
    while not any(path.stat().st_size for path in (folder / ".downloads").glob("file.*.part")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_after_a_kill_the_next_download_starts_over_and_clears_up(site, tmp_path):
    process = another_process(site, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    site.go.set()
    get(site, tmp_path)
    assert files_in(tmp_path) == {"file"}


def test_of_two_processes_the_second_waits_and_finds_the_file(site, tmp_path, capsys):
    process = another_process(site, tmp_path)
    requests = len(site.requested)
    threading.Timer(0.2, site.go.set).start()
    get(site, tmp_path)
    assert process.wait() == 0
    assert len(site.requested) == requests
    assert f"process {process.pid}" in capsys.readouterr().out
