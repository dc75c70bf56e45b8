"""A Slurm for the tests of a session that need it; its logs are added to failures."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A real Slurm of seven nodes with two GPUs each; if it is missing, CI fails, others skip."""
    if packages := missing():
        reason = f"no Slurm here: apt-get install --no-install-recommends {' '.join(packages)}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    cluster = Cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def environment(slurm: Cluster) -> Iterator[None]:
    """Make the suite's own code use this Slurm."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environment().items():
            patch.setenv(name, value)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("slurm")
    if report.failed and isinstance(cluster, Cluster):
        report.sections.append(("Slurm", cluster.logs()))
    return report
