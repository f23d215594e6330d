"""`seglab fit` and `test` at W&B: their numbers, their pictures, and fits that `wandb agent` starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from seglab.tracking import read_state
from seglab.tracking.tables import IMAGE_COLUMNS
from tests.fitting.fits import fit, rows, seglab, user_folder, version
from tests.wandb.served import ServedSweep
from tests.wandb.server import WandbServer


def given(server: WandbServer) -> dict[str, str]:
    """Return the variables by which a command finds the server."""
    return {**{name: value for name, value in server.environment().items() if name.startswith("WANDB_")}, "WANDB_SILENT": "true"}


@pytest.mark.slow
def test_a_fit_and_its_test_log_pictures(wandb_server: WandbServer, tmp_path: Path) -> None:
    """Four at each validation, and a table in the test; the training is the one without W&B."""
    place = user_folder(tmp_path)
    ended = fit(place, "--trainer.max_epochs", 2, **given(wandb_server))
    assert (ended.code, ended.err) == (0, "")
    (run,) = wandb_server.runs.values()
    pictures = [row["val/predictions"] for row in run.rows if "val/predictions" in row]
    assert [len(found["filenames"]) for found in pictures] == [4, 4]
    assert all("val/miou" in row for row in run.rows if "val/predictions" in row)
    assert (len([name for name in run.files if name.endswith(".png") and "val/predictions" in name]), run.config["phase"]) == (8 * 3, "fit")
    assert fit(place, "--trainer.max_epochs", 2).code == 0
    assert rows(version(place, 0)) == rows(version(place, 1))
    ended = seglab(place, "test", version(place, 0), **given(wandb_server))
    assert (ended.code, ended.err) == (0, "")
    test = next(run for run in wandb_server.runs.values() if run.config["phase"] == "test")
    columns, table = test.table("test/images")
    assert (tuple(columns), len(table)) == (IMAGE_COLUMNS, 4)
    assert all(0 <= row[4] <= 1 for row in table)
    assert (version(place, 2) / "predictions.png").is_file()


SWEEP = """
method: random
metric: {name: best/val_miou, goal: maximize}
parameters:
  model.optimizer.init_args.lr: {values: [0.001, 0.01]}
command: [SEGLAB, fit, --config, c.yaml, --trainer.max_epochs, "1", "${args}"]
"""
"""The file of docs/howto/dashboard.md."""


@pytest.mark.weekly
def test_an_agent_of_a_sweep_starts_fits(wandb_server: WandbServer, tmp_path: Path) -> None:
    """Each fit has the agent's id, belongs to the sweep, and keeps its files in its own folder.

    The settings of a fit are flags and columns.
    """
    place = user_folder(tmp_path)
    rates = (0.001, 0.01)
    program = str(Path(sys.executable).with_name("seglab"))
    settings = [{"model.optimizer.init_args.lr": rate} for rate in rates]
    wandb_server.content.sweeps["s"] = ServedSweep(SWEEP.replace("SEGLAB", program), settings)
    words = [sys.executable, "-m", "wandb", "agent", "--count", "2", "me/p/s"]
    environment = {**wandb_server.environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert set(wandb_server.runs) == {"drawn0", "drawn1"}, done.stdout + done.stderr
    for run, rate, number in zip((wandb_server.runs["drawn1"], wandb_server.runs["drawn0"]), rates, (0, 1), strict=True):
        assert (run.sweep, run.project, run.exit_code) == ("s", "p", 0)
        assert (run.config["lr"], run.config["model.optimizer.init_args.lr"], run.config["phase"]) == (rate, rate, "fit")
        assert [row["_step"] for row in run.rows] == list(range(len(run.rows)))
        assert 0 < run.summary["best/val_miou"] <= 1
        state = read_state(version(place, number))
        assert state is not None
        assert (state.complete, run.config["folder"]) == (True, str(version(place, number)))
