"""`seglab fit` and `test` at W&B: their numbers, their pictures, and fits that `wandb agent` starts."""

from pathlib import Path

import pytest

from seglab.tracking.tables import IMAGE_COLUMNS
from tests.fitting.fits import fit, rows, seglab, user_folder, version
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
