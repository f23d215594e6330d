"""W&B has each row of `metrics.csv` once, with its number: after kills, offline, online, and after server failures."""

import json
import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from seglab.tracking import lacks_rows, read_state
from seglab.tracking.local_logs import logs
from seglab.tracking.series import STEP, rows_of, shown
from seglab.transaction_log import steps
from tests.wandb.forks import Forks
from tests.wandb.logged import ROWS
from tests.wandb.server import Fault, WandbServer

ID = "s-a-s0-00000000"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks("tests.wandb.logged")
    yield found
    found.close()


def start(server: WandbServer, folder: Path, mode: str, **environment: object) -> "subprocess.Popen[str]":
    """Start the process that logs a run."""
    command = [sys.executable, "-m", "tests.wandb.logged", str(folder), mode]
    given = environment_of(server, mode, environment)
    return subprocess.Popen(command, cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def environment_of(server: WandbServer, mode: str, more: Mapping[str, object]) -> dict[str, str]:
    return {**server.environment(mode), "WANDB_SILENT": "true", **{name: str(value) for name, value in more.items()}}


class Log:
    """Logs a run to its end, or its death.

    Args:
        forks: makes the process.
        server: the server.
        folder: holds what the process has printed.
    """

    def __init__(self, forks: Forks, server: WandbServer, folder: Path) -> None:
        self.forks = forks
        self.server = server
        self.printed = folder / "printed.txt"

    def __call__(self, folder: Path, mode: str, **environment: object) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        child = self.forks.start([str(folder), mode], environment_of(self.server, mode, environment), self.printed)
        return self.forks.wait(child), self.printed.read_text()

    def sync(self, folder: Path) -> None:
        """Upload all offline logs of a run that are not uploaded yet by `wandb sync`, as a user does."""
        paths = [str(path) for path in sorted((folder / "wandb").glob("offline-run-*")) if not list(path.glob("*.synced"))]
        if paths:
            child = self.forks.start(["sync", "--yes", *paths], self.server.environment(), self.printed)
            assert self.forks.wait(child) == 0, self.printed.read_text()


@pytest.fixture
def log(forks: Forks, wandb_server: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(forks, wandb_server, tmp_path_factory.mktemp("printed"))


def assert_each_row_once(server: WandbServer, folder: Path) -> None:
    """Compare the server's rows with those of `metrics.csv`, value for value and number for number."""
    expected = [shown(row) for row in rows_of((folder / "metrics.csv").read_text())]
    rows = server.runs[ID].rows
    assert [row["_step"] for row in rows] == list(range(len(expected)))
    assert Counter(map(text_of, rows)) == Counter(map(text_of, expected))
    assert len(expected) == ROWS


def text_of(row: dict[str, Any]) -> str:
    return json.dumps({name: float(value) for name, value in row.items() if not name.startswith("_")}, sort_keys=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_that_was_killed_has_each_row_once(mode: str, log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    """Kill before and after the first checkpoint: rows that W&B lost are sent again, and none is sent twice."""
    assert log(tmp_path, mode, DIE_AT=7)[0] == -9
    assert log(tmp_path, mode, SAVE_AT=12, DIE_AT=17, PAUSE=0.1)[0] == -9
    code, printed = log(tmp_path, mode, SAVE_AT=20)
    assert code == 0, printed
    state = read_state(tmp_path)
    assert state is not None
    assert (state.mode, state.complete, state.problem) == (mode, True, None)
    assert not lacks_rows(tmp_path), "only a study's runs have a result"
    log.sync(tmp_path)
    assert_each_row_once(wandb_server, tmp_path)
    best = max((row["val/miou"], -row["trainer/global_step"]) for row in wandb_server.runs[ID].rows if "val/miou" in row)
    summary = wandb_server.runs[ID].summary
    assert (summary["best/val_miou"], -summary["best/step"]) == best


@pytest.mark.weekly
@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("rows", [(1, 5), (2, 3), (9, 25), (13, 14), (29, 6)])
def test_many_moments(mode: str, by: str, rows: tuple[int, int], log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    first, second = rows
    assert log(tmp_path, mode, DIE_AT=first, DIE_BY=by, SAVE_AT=first // 2, PAUSE=0.05)[0] != 0
    assert log(tmp_path, mode, DIE_AT=second, DIE_BY=by, SAVE_AT=second, PAUSE=0.2)[0] in (0, -9, -15, 1, -2)
    assert log(tmp_path, mode)[0] == 0
    log.sync(tmp_path)
    assert_each_row_once(wandb_server, tmp_path)


@pytest.mark.slow
def test_a_run_that_goes_on_online_has_each_row_once(log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    """Its first attempt was offline; what `wandb sync` would repeat is marked."""
    assert log(tmp_path, "offline", SAVE_AT=8, DIE_AT=11, PAUSE=0.1)[0] == -9
    assert log(tmp_path, "online")[0] == 0
    log.sync(tmp_path)
    assert_each_row_once(wandb_server, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("modes", [("offline", "offline"), ("online", "offline"), ("online", "online")], ids="-".join)
def test_a_run_stays_in_the_project_where_it_began(modes: tuple[str, str], log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    """Also if the shell in which it goes on names another project: neither torn between two, nor doubled by `sync`."""
    folder = tmp_path / "s" / "a" / "seed-0"
    folder.mkdir(parents=True)
    assert log(folder, modes[0], WANDB_PROJECT="first", WANDB_TAGS="mine", SAVE_AT=8, DIE_AT=11, DIE_BY="SIGINT")[0] != 0
    code, printed = log(folder, modes[1], WANDB_PROJECT="second")
    assert code == 0, printed
    assert printed.count("first at W&B and stays there: WANDB_PROJECT and WANDB_ENTITY count for runs that have not begun") == 1
    log.sync(folder)
    command = [sys.executable, "-c", "from seglab.cli import main; main()", "sync", str(tmp_path / "s")]
    done = subprocess.run(command, env=wandb_server.environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {run.project for run in wandb_server.runs.values()} == {"first"}
    assert_each_row_once(wandb_server, folder)


@pytest.mark.slow
def test_rows_of_an_equal_run_elsewhere_are_named(log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    """W&B keeps them, so that its curves are not those of this folder's `metrics.csv`."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert "of an equal run" not in log(first, "online", SAVE_AT=20)[1]
    code, printed = log(second, "online")
    assert code == 0
    assert printed.count("W&B has an equal run already") == 1
    assert f"{ROWS} rows), of another folder" in printed
    assert_each_row_once(wandb_server, first)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", *(pytest.param(fault, marks=pytest.mark.weekly) for fault in ("refuse", "503", "401"))])
@pytest.mark.parametrize("when", ["start", pytest.param("middle", marks=pytest.mark.weekly), pytest.param("end", marks=pytest.mark.weekly)])
def test_an_outage_costs_a_run_little_time(fault: Fault, when: str, log: Log, wandb_server: WandbServer, tmp_path: Path) -> None:
    """The start, the rows and the end of a run each wait half a minute at most, and all rows are in a local log."""
    if when == "start":
        wandb_server.break_down(fault)
    seconds = {}
    with start(wandb_server, tmp_path, "online", PAUSE=0.05) as process:
        assert process.stdout is not None
        for line in process.stdout:
            name, _, taken = line.partition(" ")
            if name in ("started", "logged", "finished"):
                seconds[name] = float(taken)
            if (name, when) in (("started", "middle"), ("logged", "end")):
                wandb_server.break_down(fault)
        ended = time.perf_counter()
    assert process.returncode == 0
    assert time.perf_counter() - ended < 30
    assert (tmp_path / "result.txt").exists()
    assert when != "start" or seconds["started"] < 40, "30 seconds, and a machine that does other things"
    assert seconds["finished"] < 30
    assert seconds["logged"] < 20
    state = read_state(tmp_path)
    assert state is not None
    assert state.problem is not None
    if when == "start":
        assert (state.mode, state.complete, state.url) == ("offline", True, None)
        (offline,) = logs(tmp_path, ID, "offline-run")
        assert list(steps(offline)) == list(range(ROWS))
        wandb_server.recover()
        log.sync(tmp_path)
        assert_each_row_once(wandb_server, tmp_path)
    wandb_server.recover()


@pytest.mark.weekly
def test_a_folder_that_is_deleted_does_not_stop_a_run(wandb_server: WandbServer, tmp_path: Path) -> None:
    with start(wandb_server, tmp_path, "offline", PAUSE=0.2) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("started")
        shutil.rmtree(tmp_path / "wandb")
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(list(rows_of((tmp_path / "metrics.csv").read_text()))) == ROWS
    state = read_state(tmp_path)
    assert state is not None
    assert (state.complete, state.problem) == (False, "the folder of the log was deleted")


def test_all_logs_of_a_run_are_found(tmp_path: Path) -> None:
    """Also those of attempts that started within one second, which W&B numbers; and no other run's."""
    import wandb

    def made(run_id: str, suffix: str) -> Path:
        settings = wandb.Settings(root_dir=str(tmp_path), mode="offline", run_id=run_id, x_start_time=1e9, x_sync_dir_suffix=suffix)
        path = Path(settings.sync_file)
        path.parent.mkdir(parents=True)
        path.touch()
        return path

    ours = [made("a-s1", ""), made("a-s1", "1"), made("a-s1", "2")]
    other = [made("a-s11", ""), made("a-s1-1", "3")]
    assert logs(tmp_path, "a-s1", "offline-run") == ours
    assert logs(tmp_path, "a-s1-1", "offline-run") == other[1:]


def test_the_rows_of_a_table_of_metrics() -> None:
    text = "epoch,stage/encoder.0/lr,step,val/miou\n,0.5,3,\n1,,4,nan\n"
    first, second = map(shown, rows_of(text))
    assert first == {"lr/encoder.0": 0.5, STEP: 3}
    assert (second["epoch"], second[STEP], math.isnan(second["val/miou"])) == (1, 4, True)


PICTURES = """
import sys
from pathlib import Path
import numpy as np
from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.tracking import Described, Kept, conclude, finish, loggers
folder = Path(sys.argv[1])
made = loggers(Described("s/a/s0", "s/a", "final", {"study": "s", "arm": "a", "command": "c", "folder": "f"}, folder, "s-a-s0-00000000"), "offline")
drawn = np.random.default_rng(0).integers
pictures = [PredictedImage(name, drawn(255, size=(8, 8, 3), dtype=np.uint8), *drawn(2, size=(2, 8, 8))) for name in "ab"]
for logger in made[1:]:
    logger.log_pictures("val", pictures, Classes(["x", "y"], np.zeros((2, 3), np.uint8), 255))
    logger.log_metrics({"val/miou": 0.5}, step=1)
    logger.finalize("success")
conclude(made, None, Kept(folder, diff=False))
finish()
print("pandas" in sys.modules, len(list(folder.glob("wandb/offline-run-*/files/media/images/**/*.png"))))
"""


PACKAGES = """
import importlib.metadata, sys
from pathlib import Path
from seglab.tracking import Described, finish, loggers
read, distributions = [], importlib.metadata.distributions
importlib.metadata.distributions = lambda: read.append(1) or distributions()
for seed in range(3):
    folder = Path(sys.argv[1]) / str(seed)
    loggers(Described("s/a/s0", "s/a", "final", {"study": "s", "arm": "a", "command": "c", "folder": "f"}, folder, f"s-a-s{seed}-00000000"), "online")
    finish()
    print(len(read))
print(*(len(list(folder.glob("wandb/run-*/files/requirements.txt"))) for folder in Path(sys.argv[1]).iterdir()))
lists = {path.read_text() for path in Path(sys.argv[1]).glob("*/wandb/run-*/files/requirements.txt")}
print(len(lists), all("torch==" in text for text in lists))
"""


def test_the_installed_packages_are_read_once_a_process(wandb_server: WandbServer, tmp_path: Path) -> None:
    """Each run has their list."""
    environment = environment_of(wandb_server, "online", {"PYTHONPATH": ROOT})
    done = subprocess.run([sys.executable, "-c", PACKAGES, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    first, *later = done.stdout.split()
    assert later == [first, first, "1", "1", "1", "1", "True"], done.stdout + done.stderr


def test_pictures_are_logged_without_pandas(wandb_server: WandbServer, tmp_path: Path) -> None:
    """W&B would import it only to ask whether a picture is a data frame."""
    environment = environment_of(wandb_server, "offline", {"PYTHONPATH": ROOT})
    done = subprocess.run([sys.executable, "-c", PICTURES, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "6"], done.stdout + done.stderr
