"""How long planning takes: `python -m tests.suite.planning_time 10000`.

Two grids of about so many runs: five methods on seven pairs, and all of CIFAR-100's table. Each is
planned from nothing, planned again and asked for its status, by the command as it is typed, so the
start of Python and of torch is in it. Processor time is that of all processes of the command.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.config.document import load_document

ROOT = Path(__file__).resolve().parents[2]
SUITE = load_document(ROOT / "configs" / "cifar100.yaml").data
FEW = {
    "methods": "{scratch: , kd: , fitnets: , at: , ab: }",
    "pairs": f"[{', '.join(SUITE['pairs'][:7])}]",
}


def main(wanted: int) -> None:
    """Time every step with both grids."""
    for cells, changes in ((5 * 7, FEW), (len(SUITE["methods"]) * len(SUITE["pairs"]), {})):
        seeds = list(range(round(wanted / cells)))
        sets = [f"--set={key}={value}" for key, value in {**changes, "seeds": seeds}.items()]
        print(f"{cells} cells, {len(seeds)} seeds")
        with tempfile.TemporaryDirectory() as results:
            for step, verb in (("from nothing", "plan"), ("again", "plan"), ("status", "status")):
                words = ["run_all.py", verb, "cifar100", *sets, f"--results={results}"]
                print(f"  {step}: {timed(words)}", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


def timed(words: list[str]) -> str:
    """Run a command and say what it has cost."""
    begun, spent = time.perf_counter(), processor_time()
    subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - begun
    return f"{wall:.1f} s, processor {processor_time() - spent:.1f} s"


def processor_time() -> float:
    """Return what ended children of this process have used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]))
