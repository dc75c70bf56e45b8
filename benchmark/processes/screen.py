"""Standard output and error that never raise: no terminal, pipe or full disk may end a command."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

READER_GONE = {errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF}
"""Errors of a closed pipe (`| head`) or terminal: nobody misses what is not written."""
ASCII_SIGNS = str.maketrans({"±": "+-", "–": "-", "−": "-", "→": "->", "·": ".", "…": "..."})
"""Replacements for signs that the encoding of the output lacks; others become `?`."""
ERRORS = "kd-plain"
"""The name of this replacement among Python's handlers of encoding errors."""


def _replace_signs(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end].translate(ASCII_SIGNS)
    return signs.encode("ascii", "replace").decode(), error.end


codecs.register_error(ERRORS, _replace_signs)


class Screen:
    """A text stream whose ``write`` and ``flush`` never raise. All else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | None = None
        """Why text was lost, if somebody could have read it: a full disk, not a closed pipe."""

    def write(self, text: str) -> int:
        """Write what can be written; a character that cannot be encoded becomes another one."""
        with self._tolerant():
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding
                self.stream.write(text.encode(encoding, ERRORS).decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401
        """Write every line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered, if that is possible."""
        with self._tolerant():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in READER_GONE:
                self.lost = error
        except ValueError:  # the stream is closed
            pass

    def discard_rest(self) -> None:
        """Flush; if that fails, send what is left to nowhere.

        Otherwise Python would flush again at its exit, and report the error.
        """
        try:
            self.stream.flush()
        except OSError as error:
            if error.errno not in READER_GONE:
                self.lost = error
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
                self.stream.flush()
        except ValueError:
            pass


@contextlib.contextmanager
def tolerant_output() -> Iterator[Screen]:
    """Let nothing that is printed in the block raise; yields the stream that is standard output."""
    open_standard_files()
    before = sys.stdout, sys.stderr
    screens = [Screen(stream) for stream in before]
    sys.stdout, sys.stderr = screens
    try:
        yield screens[0]
    finally:
        for screen in screens:
            screen.discard_rest()
        sys.stdout, sys.stderr = before


def open_standard_files() -> None:
    """Open the null device in place of a closed standard input, output or error (`>&-`).

    Otherwise the next file that is opened would get its number, and be printed into.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
