"""A grid with every state of a run, hostile names, and a function that reads a page's data."""

import json
import re
from pathlib import Path
from typing import Any

from tests.report.grids import METHODS, PAIRS, fail, finish_all, manifest, run_id

HOSTILE = "</script><img src=x onerror=alert(1)>"
HOSTILES = [HOSTILE, '"><svg onload=alert(1)>', "{{data}} \u2028 <!-- <script>", "\u202eabc &amp;"]
DIGITS = {"dataset": {"name": "digits"}, "protocol": 1}  # of a run in a manifest


def content_of(path: Path) -> dict[str, Any]:
    """Return the data that is embedded in a page, found as a browser finds it."""
    text = path.read_text()
    [found] = re.findall(r'<script type="application/json" id="content">(.*?)</script>', text)
    content: dict[str, Any] = json.loads(found)
    return content


def grid_of(runs: Path, **changes: Any) -> dict[str, Any]:
    """Three pairs on two data sets; one cell is not applicable, one run failed, one is missing."""
    methods = [*METHODS, HOSTILE]
    pairs = [*PAIRS[1:3], ("wrn_40_2", "wrn_16_2")]
    grid = manifest(methods, pairs, inapplicable={(2, "fsp"): "widths differ"}, **changes)
    grid["columns"][2]["dataset"] = "cifar100"
    finish_all(runs, grid)
    for seed, message in ((1, HOSTILE), (2, None)):
        run = run_id(0, "at", seed)
        (runs / run / "record.json").unlink()
        if message:
            fail(runs, run, message)
    return grid
