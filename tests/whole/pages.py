"""The pages of documentation, with the code blocks and commands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({p for where in ("*", "docs/**/*", "results/*") for p in ROOT.glob(f"{where}.md")})
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]+`")


def code(page: Path) -> list[str]:
    """What stands in code blocks, a command that goes on in the next line joined, and in spans."""
    text = page.read_text().replace("\\\n", " ")
    return [*FENCED.findall(text), *INLINE.findall(FENCED.sub("", text))]


def commands(page: Path) -> list[str]:
    found = (re.findall(r"python run_all\.py[^`\n#&|;>]*", piece) for piece in code(page))
    return [command.strip() for several in found for command in several]
