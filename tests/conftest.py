"""Settings of all tests: no network, few threads, small real data."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # scripts that the tests start import their neighbours by full name
os.environ["SEGLAB_CACHE"] = tempfile.mkdtemp(prefix="seglab-tests-")  # no test writes to the user's cache
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ.pop("WANDB_API_KEY", None)

import pytest
import torch

from seglab.data import SegmentationDataModule, Shapes
from seglab.interruption import SIGNALS

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in its background with Ctrl-C ignored


@pytest.fixture(scope="session", autouse=True)
def _cache_is_removed() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["SEGLAB_CACHE"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_rank_is_left_behind() -> Iterator[None]:
    """Check that a test that launches DDP leaves no rank in the environment of this process.

    Otherwise, processes of later tests would wait for ranks that nobody starts.
    """
    yield
    assert "LOCAL_RANK" not in os.environ, "put patch.dict(os.environ) around what launches DDP in this process"


@pytest.fixture(autouse=True)
def _signals_are_left_alone() -> Iterator[None]:
    """Check that a test restores signals.

    Processes of later tests inherit what is ignored or blocked, and Ctrl-C would not stop them.
    """
    before = _signals()
    yield
    assert _signals() == before, "put the handlers of signals back, and unblock what was blocked"


def _signals() -> tuple[object, ...]:
    """Return this process's handlers of the signals that seglab uses, and the signals that it blocks."""
    return *map(signal.getsignal, (signal.SIGINT, *SIGNALS)), signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.fixture
def shapes() -> SegmentationDataModule:
    """12 training images of 32×32 in 4 classes: a second of work for a small network."""
    return SegmentationDataModule(Shapes(num_train=12, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def read_only(small_disk: Path) -> Iterator[Callable[[], Path]]:
    """Makes that file system one that nobody may write to, root included."""

    def remount(mode: str = "ro") -> Path:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(small_disk)], check=True)
        return small_disk

    yield remount
    remount("rw")
