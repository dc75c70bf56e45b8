"""The page as one HTML file: its style and scripts inside, and nothing fetched from anywhere."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = (
    *("dom", "data", "curves", "state", "table"),
    *("made", "detail", "measured", "undone", "main"),
)
# What HTML could take for the end of the script element, or JavaScript for the end of a line.
_UNSAFE = re.compile("[<>&\u2028\u2029]")


def render(content: Mapping[str, Any], refresh: int | None) -> str:
    """The whole file. Only its own style and scripts may do anything, by their checksums."""
    style = _read("page.css")
    script = '"use strict";\n{\n' + "\n".join(_read(f"{name}.js") for name in SCRIPTS) + "}\n"
    policy = (
        f"default-src 'none'; script-src {_checksum(script)}; style-src {_checksum(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    again = f'<noscript><meta http-equiv="refresh" content="{refresh}"></noscript>'
    parts = {
        "policy": policy,
        "refresh": again if refresh else "",
        "title": html.escape(" ".join(str(content["title"]).split())),
        "suite": html.escape(str(content["suite"])),
        "style": style,
        "data": embedded({**content, "refresh": refresh}),
        "script": script,
    }
    # In one pass: what comes from users is not searched for places to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _read("page.html"))


def embedded(value: object) -> str:
    """JSON that says the same and that no HTML parser can leave the script element by."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate has no bytes


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
