"""A training with broken W&B ends with the result of one without W&B; a line says what was wrong and what to do."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seglab.tracking import read_state
from seglab.tracking.state import State
from tests.wandb.forks import Forks
from tests.wandb.server import Fault, WandbServer

RUN = Path("small", "none", "seed-0")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks("tests.wandb.trained")
    yield found
    found.close()


class Trained:
    """Trains the run in a folder. A study is `FOLDER/small`."""

    def __init__(self, forks: Forks, server: WandbServer, place: Path) -> None:
        self.forks = forks
        self.server = server
        self.place = place

    def start(self, folder: str, mode: str, **environment: str) -> int:
        given = {**self.server.environment(mode), "WANDB_SILENT": "true", **environment}
        return self.forks.start([str(self.place / folder), mode], given, self.place / f"{folder}.txt")

    def ended(self, folder: str, child: int) -> tuple[dict[str, Any], list[str]]:
        """Return the result of a training, and the lines of its log about W&B."""
        code = self.forks.wait(child)
        log = self.place / folder / RUN / "log.txt"
        assert code == 0, (self.place / f"{folder}.txt").read_text() + log.read_text()
        return result_of(self.place / folder), [line for line in log.read_text().splitlines() if "W&B" in line or "wandb" in line]

    def __call__(self, folder: str, mode: str, **environment: str) -> tuple[dict[str, Any], list[str]]:
        return self.ended(folder, self.start(folder, mode, **environment))

    def state(self, folder: str) -> State:
        found = read_state(self.place / folder / RUN)
        assert found is not None
        return found


def result_of(root: Path) -> dict[str, Any]:
    """Return the result of the run without its clock readings."""
    found: dict[str, Any] = json.loads((root / RUN / "result.json").read_text())
    del found["cost"]
    return found


@pytest.fixture
def trained(forks: Forks, wandb_server: WandbServer, tmp_path: Path) -> Trained:
    return Trained(forks, wandb_server, tmp_path)


@pytest.fixture(scope="module")
def plain(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the result of a training without W&B."""
    place = tmp_path_factory.mktemp("plain")
    child = forks.start([str(place / "plain"), "disabled"], {**os.environ, "WANDB_MODE": "disabled"}, place / "printed.txt")
    assert forks.wait(child) == 0, (place / "printed.txt").read_text()
    return result_of(place / "plain")


@pytest.mark.slow
def test_a_key_of_the_wrong_length(trained: Trained, plain: dict[str, Any]) -> None:
    result, lines = trained("bad", "online", WANDB_API_KEY="bad")
    assert result == plain
    assert len(lines) == 1, lines
    assert lines[0].startswith("W&B cannot be reached (")
    assert "API key must have 40+ characters, has 3" in lines[0]
    assert lines[0].endswith("this run is logged offline; `seglab sync` uploads it later")
    assert (trained.state("bad").mode, trained.state("bad").complete) == ("offline", True)
    assert trained.server.runs == {}


@pytest.mark.slow
def test_an_unknown_entity(trained: Trained, plain: dict[str, Any]) -> None:
    result, lines = trained("unknown", "online", WANDB_ENTITY="nobody")
    assert result == plain
    assert len(lines) == 1, lines
    assert "(entity nobody not found during upsertBucket; check WANDB_ENTITY=nobody): this run is logged offline" in lines[0]
    assert (trained.state("unknown").mode, trained.state("unknown").complete) == ("offline", True)
    assert trained.server.runs == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "said"), [(4096, "the disk of"), pytest.param(147456, "No space left on device", marks=pytest.mark.weekly)]
)
def test_a_full_disk(left: int, said: str, trained: Trained, plain: dict[str, Any], small_disk: Path) -> None:
    """W&B's folder is on a disk that is full at once, or becomes full during the training."""
    run = trained.place / "full" / RUN
    run.mkdir(parents=True)
    (run / "wandb").symlink_to(small_disk)
    fill(small_disk, left)
    result, lines = trained("full", "offline")
    assert result == plain
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert lines[0].endswith(("metrics.csv has its numbers", "`seglab sync` uploads the rest later"))
    assert not (small_disk / "seglab.json").exists() or not trained.state("full").complete


def fill(disk: Path, left: int) -> None:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(free - left))


@pytest.mark.slow
def test_two_processes_with_one_id(trained: Trained, plain: dict[str, Any]) -> None:
    """The same run in two folders, both alive."""
    hold = trained.place / "hold"
    hold.touch()
    first = trained.start("first", "online", HOLD=str(hold))
    until(lambda: (trained.place / "first" / RUN / "wandb" / "seglab.json").exists())
    second = trained.start("second", "online")
    result, lines = trained.ended("second", second)
    assert result == plain
    assert len(lines) == 1, lines
    assert lines[0].startswith("W&B has an equal run already (")
    assert "of another folder" in lines[0]
    assert "Delete that run at W&B first if it is not to be kept, or let its process end if it is alive" in lines[0]
    hold.unlink()
    assert trained.ended("first", first) == (plain, [])
    assert len(trained.server.runs) == 1


@pytest.mark.weekly
@pytest.mark.parametrize("fault", ["hang", *(pytest.param(fault, marks=pytest.mark.weekly) for fault in ("refuse", "503", "401"))])
@pytest.mark.parametrize("when", ["middle", *(pytest.param(when, marks=pytest.mark.weekly) for when in ("start", "end"))])
def test_an_outage(fault: Fault, when: str, trained: Trained, plain: dict[str, Any]) -> None:
    """The result equals that of a training without W&B, and `seglab sync` completes the run after the outage."""
    server, hold, run = trained.server, trained.place / "hold", trained.place / "out" / RUN
    hold.touch()
    if when == "start":
        server.break_down(fault)
    child = trained.start("out", "online", HOLD=str(hold))
    until(lambda: (run / "wandb" / "seglab.json").exists())
    if when == "middle":
        server.break_down(fault)
    hold.unlink()
    if when == "end":
        until(lambda: (run / "result.json").exists() or any("val/miou" in row for served in server.runs.values() for row in served.rows))
        server.break_down(fault)
    result, lines = trained.ended("out", child)
    assert result == plain
    assert len(lines) == 1, lines
    assert "`seglab sync` uploads" in lines[0]
    server.recover()
    sync(server, run)
    (served,) = server.runs.values()
    with (run / "metrics.csv").open() as file:
        assert [row["trainer/global_step"] for row in served.rows] == [int(row["step"]) for row in csv.DictReader(file)]
    assert [row["_step"] for row in served.rows] == list(range(len(served.rows)))
    assert served.summary["test/miou"] == pytest.approx(result["test"]["miou"])


def sync(server: WandbServer, run: Path) -> None:
    words = [sys.executable, "-c", "from seglab.cli import main; main()", "sync", str(run)]
    done = subprocess.run(words, env=server.environment(), timeout=240, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done


def until(happened: Any) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
