"""`seglab test FOLDER` evaluates the weights of a run again, and says the same as its result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SEGLAB = [sys.executable, "-c", "from seglab.cli import main; main()"]


def said(*words: object, cwd: Path) -> tuple[int, str]:
    done = subprocess.run([*SEGLAB, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def columns(text: str, name: str) -> list[str]:
    """The cells of a row of the table."""
    (row,) = [line for line in text.splitlines() if f" {name} " in line]
    return row.replace("│", " ").split()[1:]


@pytest.mark.parametrize(("verb", "split"), [("test", "test"), pytest.param("validate", "val", marks=pytest.mark.slow)])
def test_a_finished_run_scores_as_its_result_says(finished: Path, verb: str, split: str) -> None:
    run = finished / "l1" / "seed-1"
    code, text = said(verb, run.relative_to(finished.parents[1]), cwd=finished.parents[1])
    assert code == 0, text
    recorded = json.loads((run / "result.json").read_text())[split]
    for name, value in recorded.items():
        assert columns(text, name) == [f"{value:.6f}"] * 2


def test_what_is_no_folder_of_a_run(tmp_path: Path) -> None:
    code, text = said("test", tmp_path, cwd=tmp_path)
    assert code == 2
    assert text.startswith(f"error: {tmp_path}: is no folder of a run")
    (tmp_path / "settings.yaml").write_text("command: [python, script.py, run, --arm, a, --seed, 0]")
    code, text = said("test", tmp_path, cwd=tmp_path)
    assert (code, text.partition(";")[0]) == (2, "error: script.py: no such file")
    (tmp_path / "settings.yaml").write_text("command: 3")
    assert "damaged" in said("test", tmp_path, cwd=tmp_path)[1]
    (tmp_path / "config.yaml").write_text("")
    assert "last.ckpt: no such file" in said("test", tmp_path, cwd=tmp_path)[1]


@pytest.mark.slow
def test_a_fit_is_tested_by_its_folder_as_by_its_checkpoint(tmp_path: Path) -> None:
    small = ["--data.source.num_train", 8, "--data.source.num_val", 2, "--data.source.num_test", 2, "--data.source.image_size", 32]
    network = ["--model.network", "seglab.unet", "--model.network.encoder", "tu-test_resnet", "--model.network.num_classes", 6]
    code, text = said("fit", "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu", *network, *small, cwd=tmp_path)
    assert code == 0, text
    code, text = said("test", "runs/fit/version_0", cwd=tmp_path)
    assert code == 0, text
    assert "test/miou" in text
