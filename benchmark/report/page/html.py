"""The page as one HTML file. Style and scripts are embedded; nothing is loaded from elsewhere."""

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
    *("provenance", "detail", "measures", "summaries", "main"),
)
"""The scripts in the order in which they are joined to one."""
# Characters that could end the script element in HTML, or a line in JavaScript.
_UNSAFE = re.compile("[<>&\u2028\u2029]")


def render(content: Mapping[str, Any], refresh: int | None) -> str:
    """Return the whole file.

    Its content security policy allows its own style and script, by their checksums, and nothing
    else. `refresh` is the number of seconds between reloads; None for a page that never reloads.
    """
    style = _read("page.css")
    script = '"use strict";\n{\n' + "\n".join(_read(f"{name}.js") for name in SCRIPTS) + "}\n"
    policy = (
        f"default-src 'none'; script-src {_checksum(script)}; style-src {_checksum(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    reload = f'<noscript><meta http-equiv="refresh" content="{refresh}"></noscript>'
    parts = {
        "policy": policy,
        "refresh": reload if refresh else "",
        "title": html.escape(" ".join(str(content["title"]).split())),
        "suite": html.escape(str(content["suite"])),
        "style": style,
        "data": script_safe_json({**content, "refresh": refresh}),
        "script": script,
    }
    # One pass over the template: placeholders in text from users are not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html"))


def script_safe_json(value: object) -> str:
    """Return JSON that is safe inside a script element: no HTML parser finds the element's end.

    Raises ValueError: a number is infinite or not a number.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace").decode()  # UTF-8 cannot encode a lone surrogate


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
