"""What can be known of a Slurm cluster before jobs are submitted to it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from benchmark.config.errors import UserError
from benchmark.launch.slurm_queue import run_slurm_command


def check_slurm() -> None:
    """Raise UserError if there is no Slurm on this machine."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "the job could not be submitted: there is no Slurm here (no `sbatch` in PATH). Run "
            "this on a login node of the cluster, or choose another --machine, as local"
        )


def check_log_path(results: Path) -> None:
    """Raise UserError if Slurm would write the logs of these results somewhere else.

    It replaces `%j` and its like in their paths, a backslash switches that off, and a line of a
    batch script cannot hold a line break. submitit writes the script in UTF-8.
    """
    wrong = [sign for sign in "%\\\n\r" if sign in str(results)]
    if wrong or str(results) != str(results).encode("utf-8", "replace").decode():
        signs = " and ".join(map(repr, wrong)) or "a character that is not UTF-8"
        raise UserError(
            f"the jobs could not be submitted: Slurm cannot write logs to {str(results)!r}, whose "
            f"path has {signs}. Choose another folder for --results"
        )


def max_array_size() -> int:
    """Return Slurm's MaxArraySize. Raises UserError if scontrol does not report it."""
    config = run_slurm_command("scontrol", "show", "config") or ""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.M)
    if match is None:
        raise UserError(
            "the jobs could not be submitted: `scontrol show config` does not report MaxArraySize"
        )
    return max(1, int(match[1]))
