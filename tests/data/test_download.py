"""Downloads go on where they were interrupted, are checked, and happen once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from benchmark.config.errors import UserError
from benchmark.data.files import download
from benchmark.data.files.download import fetch
from tests.cli.command import ROOT
from tests.data.web_server import CONTENT, Site, md5


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site, wanted = self.server, self.headers["Range"]
        site.asked.append(wanted or "all")
        site.conditions.append(self.headers["If-Range"])
        if site.refusals or self.path not in site.files:
            self.send_error(site.refusals.pop(0) if site.refusals else 404)
            return
        content = site.files[self.path]
        same = self.headers["If-Range"] in (None, *site.headers.values())
        start = int(wanted[6:-1]) + site.slip if wanted and site.ranges and same else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in site.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.send(content[start:])

    def send(self, content: bytes) -> None:
        site = self.server
        if site.cuts:
            self.wfile.write(content[: site.cuts.pop(0)])
            return
        half = len(content) // 2
        self.wfile.write(content[:half])
        site.go.wait(30)
        self.wfile.write(content[half:])

    def log_message(self, *_: object) -> None:
        """Quiet."""


def get(site: Site, folder: Path, content: bytes = CONTENT) -> None:
    fetch(site.url, folder / "file", md5(content))
    assert (folder / "file").read_bytes() == content


def part(folder: Path) -> Path:
    return folder / ".downloads" / "file.part"


def interrupted(site: Site, folder: Path, after: int = 70_000) -> None:
    site.cuts = [after, 0, 0]
    with pytest.raises(UserError, match=r"70\.0 kB of it are kept: the next attempt goes on there"):
        get(site, folder)
    assert part(folder).read_bytes() == CONTENT[:after]
    assert not (folder / "file").exists()
    site.asked.clear()
    site.conditions.clear()


def test_a_file_is_downloaded_once_and_nothing_else_stays(site, tmp_path):
    get(site, tmp_path)
    get(site, tmp_path)
    assert site.asked == ["all"]
    assert {path.name for path in tmp_path.rglob("*")} == {".downloads", "file"}


def test_after_an_interruption_only_the_rest_is_asked_for(site, tmp_path):
    interrupted(site, tmp_path)
    get(site, tmp_path)
    assert site.asked == ["bytes=70000-"]


def test_a_connection_that_breaks_is_tried_again_and_it_is_said(site, tmp_path, capsys):
    site.cuts = [1000, 2000]
    get(site, tmp_path)
    assert site.asked == ["all", "bytes=1000-", "bytes=3000-"]
    assert capsys.readouterr().out.count("closed half way; trying again in 0 s") == 2


def test_patience_lasts_as_long_as_something_comes(site, tmp_path):
    site.cuts = [1000] * 20
    get(site, tmp_path)
    assert len(site.asked) == 21


def test_patience_ends_when_nothing_new_comes(site, tmp_path):
    site.ranges, site.cuts = False, [1000] * 20
    with pytest.raises(UserError, match="closed half way"):
        get(site, tmp_path)
    assert len(site.asked) == 1 + len(download.PAUSES)


def test_a_server_that_falls_silent_is_asked_again(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    site.go.clear()
    threading.Timer(0.3, site.go.set).start()
    get(site, tmp_path)
    assert "timed out; trying again" in capsys.readouterr().out


def test_a_server_that_sends_whole_files_only_sends_the_whole_file(site, tmp_path, capsys):
    interrupted(site, tmp_path)
    site.ranges = False
    get(site, tmp_path)
    assert "starting over" in capsys.readouterr().out


def test_a_server_that_sends_another_piece_is_asked_for_the_whole_file(site, tmp_path):
    interrupted(site, tmp_path)
    site.slip = 1
    get(site, tmp_path)
    assert site.asked == ["bytes=70000-", "all"]


CHANGED = CONTENT[::-1]


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"ETag": '"1"', "Last-Modified": "Monday"}, '"1"'),
        ({"ETag": 'W/"1"', "Last-Modified": "Monday"}, "Monday"),
        ({"ETag": 'W/"1"'}, None),
        ({}, None),
    ],
)
def test_a_file_that_has_changed_is_not_pieced_together(site, tmp_path, headers, known):
    site.headers = headers
    interrupted(site, tmp_path)
    site.headers = {name: f'"not {value}"' for name, value in headers.items()}
    site.files["/file"] = CHANGED
    if known is None:  # nothing tells the versions apart but the md5
        with pytest.raises(UserError, match="is not the official file: its md5 is"):
            get(site, tmp_path, CHANGED)
    get(site, tmp_path, CHANGED)
    assert site.conditions[0] == known


def test_a_wrong_md5_is_told_and_what_came_is_removed(site, tmp_path):
    (tmp_path / "file").write_text("what was there before")
    with pytest.raises(UserError, match=rf"its md5 is {md5(CONTENT)}, the .* is {md5(CHANGED)}"):
        get(site, tmp_path, CHANGED)
    assert list((tmp_path / ".downloads").iterdir()) == []
    assert (tmp_path / "file").read_text() == "what was there before"


def test_a_file_that_is_not_there_is_told_at_once_and_costs_nothing(site, tmp_path):
    interrupted(site, tmp_path)
    content = site.files.pop("/file")
    with pytest.raises(UserError, match=r"/file: HTTP Error 404: .* 70\.0 kB of it are kept"):
        get(site, tmp_path)
    assert len(site.asked) == 1
    site.files["/file"] = content
    get(site, tmp_path)
    assert site.asked[1:] == ["bytes=70000-"]


def test_a_server_that_is_overloaded_is_asked_again(site, tmp_path):
    site.refusals = [503, 429]
    get(site, tmp_path)
    assert site.asked == ["all"] * 3


def test_without_a_network_there_is_one_message_and_no_waiting(tmp_path, capsys):
    with Site() as site:
        pass
    with pytest.raises(UserError, match=r"/file: .*Connection refused"):
        get(site, tmp_path)
    assert "trying again" not in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_is_told_with_what_to_do(site, tmp_path):
    part(tmp_path).parent.mkdir()
    part(tmp_path).symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"no room left to write \(.*file\.part\).*Free some space"):
        get(site, tmp_path)
    assert len(site.asked) == 1


def test_what_was_complete_before_its_check_is_not_asked_for_again(site, tmp_path):
    interrupted(site, tmp_path)
    part(tmp_path).write_bytes(CONTENT)
    get(site, tmp_path)
    assert site.asked == ["bytes=200000-"]


def test_a_log_gets_a_line_from_time_to_time(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "EVERY", 0.0)
    interrupted(site, tmp_path)
    get(site, tmp_path)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("file: 200.0 kB of 200.0 kB, ")
    assert "B/s" in last


def another_process(site: Site, folder: Path) -> subprocess.Popen[bytes]:
    """Download in a process of its own; return when half has come."""
    site.go.clear()
    words = (
        "import sys; from pathlib import Path; from benchmark.data.files.download import fetch; "
    )
    words += "fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    arguments = [site.url, str(folder / "file"), md5(CONTENT)]
    process = subprocess.Popen([sys.executable, "-c", words, *arguments], cwd=ROOT)
    until = time.monotonic() + 60
    while not part(folder).exists() or part(folder).stat().st_size < len(CONTENT) // 2:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_after_a_kill_only_the_rest_is_asked_for(site, tmp_path):
    process = another_process(site, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    site.go.set()
    get(site, tmp_path)
    assert site.asked == ["all", "bytes=100000-"]


def test_two_processes_download_once_and_the_second_says_for_whom_it_waits(site, tmp_path, capsys):
    process = another_process(site, tmp_path)
    threading.Timer(0.2, site.go.set).start()
    get(site, tmp_path)
    assert process.wait() == 0
    assert site.asked == ["all"]
    assert f"process {process.pid}, prepares" in capsys.readouterr().out
