"""A new user's first commands on a cluster are what CI sets itself up by; a wheel is complete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
FORMATS = {".yaml", ".csv"}
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_ci_takes_its_set_up_from_the_page():
    script = (ROOT / ".ci" / "run").read_text()
    [command] = re.findall(r"^setup=\$\((.+)\)\nstep eval \"\$setup\"$", script, re.MULTILINE)
    taken = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert taken == BLOCKS[0]


def test_what_the_page_asks_for_beside_its_set_up_is_the_command():
    # Which tests/slurm gives, line by line.
    later = [line for block in BLOCKS[1:] for line in block.splitlines()]
    assert later
    assert not [line for line in later if not line.startswith("python run_all.py ")]


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="of CI's own environment")
def test_in_ci_tests_run_in_the_environment_that_the_page_makes():
    [name] = re.findall(r"-m venv (\S+)$", BLOCKS[0], re.MULTILINE)
    assert Path(sys.prefix) == ROOT / name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package that was installed from a wheel, as `pip install .` does."""
    folder = tmp_path_factory.mktemp("wheel")
    source, target = folder / "source", folder / "site-packages"
    for name in ("benchmark", "methods", "configs", "results/published"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        f"--wheel-dir={folder}",
        str(source),
    ]
    subprocess.run(wheel, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    shutil.rmtree(source)  # so that nothing can be read from it
    install = [*pip, "install", "--no-deps", "--no-index", f"--target={target}", str(file)]
    subprocess.run(install, check=True, capture_output=True)
    return target


def test_an_installed_package_has_the_command_and_the_suites(installed: Path, tmp_path: Path):
    env = {**os.environ, "PYTHONPATH": str(installed)}
    plan = [sys.executable, "-m", "benchmark", "plan", "quickstart", "--only", "method=kd,seed=0"]
    done = subprocess.run(plan, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digits-resnet8-kd-s0-" in done.stdout
    assert [*(tmp_path / "results" / "suites").glob("quickstart-*.json")]
    assert not [*installed.glob("results*")]
    for name in ("run_all.py", "kd-suite"):
        script = [sys.executable, str(installed / "bin" / name), "status", "quickstart"]
        done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_installed_package_has_the_machine_files_and_the_published_numbers(installed: Path):
    for suites, here in (
        (installed / "benchmark" / "suite" / "files", ROOT / "configs"),
        (installed / "benchmark" / "report" / "numbers", ROOT / "results" / "published"),
    ):
        files = {path.relative_to(here) for path in here.rglob("*") if path.suffix in FORMATS}
        assert {path.relative_to(suites) for path in suites.rglob("*") if path.is_file()} == files
