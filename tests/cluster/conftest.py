"""A cluster for the session, and a study that has run to its end without one."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, obtain

SCRIPT = Path(__file__).with_name("slow_experiment.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    missing = obtain()
    if missing:
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="seglab-cluster-") as folder:
        made = Cluster(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study as this machine makes it."""
    place = tmp_path_factory.mktemp("local")
    done = subprocess.run([sys.executable, str(SCRIPT), "run"], cwd=place, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "runs" / "slow"
