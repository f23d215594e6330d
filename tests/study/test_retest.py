"""`seglab test FOLDER` on what is no folder of a run, and on that of a fit.

A finished run is tested again in `test_run.py`.
"""

import csv
import dataclasses
import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from seglab import SegmentationDataModule, Shapes, load
from seglab.interruption import Interruption
from seglab.metrics import confusion_matrices, scores
from seglab.running.execute import execute
from seglab.running.plan import Plan, Script, Selection
from seglab.running.resources import Resources
from seglab.running.retest import _trained
from seglab.script.supervise import prepare
from tests.study.scripts import seglab
from tests.study.tiny_experiment import study


def test_what_is_no_folder_of_a_run(tmp_path: Path) -> None:
    code, text = seglab("test", tmp_path, cwd=tmp_path)
    assert code == 2
    assert text.startswith(f"error: {tmp_path}: is no folder of a run")
    (tmp_path / "settings.yaml").write_text("command: [python, script.py, run, --arm, a, --seed, 0]")
    code, text = seglab("test", tmp_path, cwd=tmp_path)
    assert (code, text.partition(";")[0]) == (2, "error: script.py: no such file")
    (tmp_path / "settings.yaml").write_text("command: 3")
    assert "damaged" in seglab("test", tmp_path, cwd=tmp_path)[1]
    (tmp_path / "config.yaml").write_text("")
    assert "last.ckpt: no such file" in seglab("test", tmp_path, cwd=tmp_path)[1]


def test_weights_of_64_bits_are_not_rounded(tmp_path: Path) -> None:
    asked = dataclasses.replace(study(epochs=1, seeds=1), precision="64-true")
    resources = Resources(accelerator="cpu", wandb="disabled")
    plan = Plan(asked, tmp_path, Script(("script.py",)), resources, Selection(arm="l2"))
    prepare(plan, Console(file=io.StringIO()))
    (job,) = plan.jobs()
    execute(job, Interruption())
    saved = torch.load(job.checkpoints / "last.ckpt", weights_only=True)["state_dict"]
    tested = _trained(job, []).module.state_dict()
    for name, value in saved.items():
        assert torch.equal(tested[name], value), name


@pytest.mark.weekly
def test_a_fit_is_tested_by_its_folder_as_by_its_checkpoint(tmp_path: Path) -> None:
    small = ["--data.source.num_train", 8, "--data.source.num_val", 2, "--data.source.num_test", 2, "--data.source.image_size", 32]
    network = ["--model.network", "seglab.unet", "--model.network.encoder", "tu-test_resnet", "--model.network.num_classes", 6]
    code, text = seglab("fit", "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu", *network, *small, cwd=tmp_path)
    assert code == 0, text
    code, text = seglab("test", "runs/fit/version_0", cwd=tmp_path)
    assert code == 0, text
    assert "test/miou" in text
    with (tmp_path / "runs" / "fit" / "version_1" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    loaded = load(tmp_path / "runs" / "fit" / "version_0")
    data = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32), batch_size=2, num_workers=0)
    (batch,) = data.test_dataloader()
    with torch.inference_mode():
        counts = confusion_matrices(loaded(batch.image).argmax(1), batch.mask, 6)
    assert float(row["test/miou"]) == pytest.approx(float(scores(counts.sum(0)).mean["miou"]), abs=1e-6)
