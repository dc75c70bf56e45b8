"""What a file is, by its first bytes: web pages and archives are saved under weights' names."""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmark.config.errors import UserError

_FIRST_BYTES = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: `git lfs pull`",
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\x89HDF": "an HDF5 file, as Keras writes; only weights of PyTorch can be imported",
    b"\x93NUMPY": "a NumPy array; only weights of PyTorch can be imported",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
}
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--")


def require_checkpoint(file: Path) -> bool:
    """Look at a file's first bytes. Return whether it is in safetensors' format.

    Raises UserError that says what the file is if no weights can be in it, or if reading it might
    never end.
    """
    if not file.exists():
        raise UserError(f"{file}: no such file")
    if not file.is_file():
        raise UserError(f"{file}: is not a regular file")
    with file.open("rb") as stream:
        start = stream.read(512)
    what = _describe(start, file)
    if what:
        raise UserError(f"{file}: is no checkpoint: it is {what}")
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= file.stat().st_size - 8


def _describe(start: bytes, file: Path) -> str | None:
    if not start:
        return "empty"
    for magic, what in _FIRST_BYTES.items():
        if start.startswith(magic):
            return what
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_MARKUP):
        return "a web page: the download was answered by a page, not by the file"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if text.startswith((b"{", b"[")):
        return "JSON text"
    return _describe_zip(file) if start.startswith(b"PK") else None


def _describe_zip(file: Path) -> str | None:
    """Describe a zip file that torch did not write, or that lacks its end; else return None."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip file without its end: it was not written or downloaded completely"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program: save its `state_dict()` instead"
    if not any(name.endswith("data.pkl") for name in names):
        return f"a zip archive (with {', '.join(names[:3]) or 'nothing in it'}): unpack it"
    return None
