"""What several files of tests share."""

from pathlib import Path

import pytest

from tests.test_cli import call, suite


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small suite has been run, by local processes."""
    tmp_path = tmp_path_factory.mktemp("finished")
    done = call(tmp_path, "run", str(suite(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "stdout").write_text(done.stdout)
    return tmp_path
