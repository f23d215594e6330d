"""The clusters of a session, and a study that has run to its end without one."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from seglab.script.main import main
from tests.cluster import gridengine_cluster, slow_experiment, slurm_cluster
from tests.cluster.gridengine_cluster import GridEngineCluster
from tests.cluster.slurm_cluster import SlurmCluster
from tests.cluster.studies import SCRIPT, Script


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cluster")


Made = TypeVar("Made", SlurmCluster, GridEngineCluster)


@contextlib.contextmanager
def running(kind: type[Made], missing: str) -> Iterator[Made]:
    """Start a cluster in a folder of its own and stop it at the end.

    Skip the test if something is `missing` that the cluster needs.
    """
    if missing:
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="seglab-cluster-") as folder:
        made = kind(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    with running(SlurmCluster, slurm_cluster.obtain()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def gridengine() -> Iterator[GridEngineCluster]:
    with running(GridEngineCluster, gridengine_cluster.obtain()) as cluster:
        yield cluster


@pytest.fixture
def run_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """Runs the experiment in a folder of the test; in this process, which has imported torch already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str, step: float = 0.0, code: int = 0) -> str:
        monkeypatch.setenv("SECONDS_A_STEP", str(step))
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
        with pytest.raises(SystemExit) as ended:
            main(slow_experiment.study)
        printed = "".join(capfd.readouterr())
        assert ended.value.code == code, printed
        return printed

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the study in the test's folder."""
    return tmp_path / "runs" / "slow"


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study as this machine makes it."""
    place = tmp_path_factory.mktemp("local")
    done = subprocess.run([sys.executable, str(SCRIPT), "run"], cwd=place, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "runs" / "slow"
