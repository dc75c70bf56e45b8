"""What several files of tests share."""

from pathlib import Path

import pytest
import torch

from tests.cli.command import call, suite

TESTS = Path(__file__).parent
LONGEST = [
    "slurm/test_suites.py",
    "whole/test_suites.py",
    "whole/test_command.py",
    "training/test_cohort.py",
    "whole/test_faults.py",
    "whole/test_docs.py",
    "whole/test_torture.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, or the other processes wait for them at the end."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small suite has been run, by local processes."""
    tmp_path = tmp_path_factory.mktemp("finished")
    done = call(tmp_path, "run", str(suite(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "stdout").write_text(done.stdout)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As jobs compute: bits depend on the number of threads, and cores are often shared."""
    torch.set_num_threads(1)
