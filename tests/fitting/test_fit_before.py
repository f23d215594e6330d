"""Files that `seglab fit` of version 0.2.0 wrote: its `config.yaml` and its checkpoints."""

from pathlib import Path

import pytest
import torch

from tests.fitting.fits import CONFIG, checkpoint, fit, rows, seglab, user_folder, version

LOGGERS = (
    "logger: [{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: runs/fit, name: '', version: null, prefix: ''}}, "
    "{class_path: lightning.pytorch.loggers.WandbLogger, init_args: {save_dir: runs/fit, offline: false, project: seglab, mode: null}}], "
)
OTHERS = "optimizer: null\nlr_scheduler: null\nckpt_path: null\nweights_only: null\n"
LAST = "checkpoints/last.ckpt"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's folder with a configuration as version 0.2.0 wrote it."""
    return user_folder(tmp_path, CONFIG.replace("trainer: {", "trainer: {" + LOGGERS) + OTHERS)


@pytest.mark.slow
def test_it_trains_the_same(place: Path, tmp_path: Path) -> None:
    """Its W&B logger is offline if nobody is logged in, and writes into no run that the environment names."""
    ended = fit(place, "--trainer.max_epochs", 1, WANDB_MODE="", WANDB_RUN_ID="other", HOME=place)
    assert ended.code == 0, ended
    assert sorted(path.name for path in version(place, 0).iterdir()) == ["checkpoints", "config.yaml", "metrics.csv"]
    (run,) = (place / "runs" / "fit" / "wandb").glob("offline-run-*")
    assert not run.name.endswith("other")
    now = user_folder(tmp_path / "now")
    assert fit(now, "--trainer.max_epochs", 1).code == 0
    assert rows(version(place, 0)) == rows(version(now, 0))


@pytest.mark.parametrize(("key", "replacement"), [("optimizer", "model.optimizer"), ("lr_scheduler", "model.scheduler")])
def test_what_stood_beside_the_module_is_refused(place: Path, key: str, replacement: str) -> None:
    text = (place / "c.yaml").read_text()
    (place / "c.yaml").write_text(text.replace(f"{key}: null", f"{key}: {{class_path: torch.optim.SGD, init_args: {{lr: 0.1}}}}"))
    ended = fit(place)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith(f"error: --config c.yaml: there is no {key} beside model and data; write it as {replacement}: ")
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    "network",
    [
        {"class": "mine.Network", "repr_sha256": "of other text"},
        pytest.param({"libraries": "torch 1.0", "repr_sha256": "of other words"}, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_is_evaluated_but_not_continued(place: Path, network: dict[str, str]) -> None:
    """The description of its network has other parts, or was written under other versions of libraries."""
    assert fit(place, "--trainer.max_epochs", 1).code == 0
    assert seglab(place, "test", version(place, 0)).code == 0
    held = checkpoint(version(place, 0) / LAST)
    del held["fit"]
    held["seglab"]["network"] = network if "class" in network else held["seglab"]["network"] | network
    torch.save(held, version(place, 0) / LAST)
    ended = seglab(place, "test", version(place, 0))
    assert ended.code == 0, ended
    assert rows(version(place, 2)) == rows(version(place, 1))
    ended = fit(place, "--ckpt_path", version(place, 0) / LAST)
    assert ended.code == 2
    assert "saves them since version 0.3.0" in ended.err


@pytest.mark.parametrize(
    ("word", "meaning"), [("light", "seglab.LightAugmentation"), ("none", "null"), ("p.yaml", "seglab.AugmentationFile")]
)
def test_a_word_of_augmentation_in_a_file_is_refused_with_what_to_write(place: Path, word: str, meaning: str) -> None:
    config = place / "c.yaml"
    config.write_text(config.read_text().replace("  batch_size: 4\n", f"  batch_size: 4\n  augmentation: {word}\n"))
    ended = fit(place)
    assert ended.code == 2
    assert ended.err.startswith(
        f"error: --config c.yaml: data.augmentation is {word}, a word of the command line; in a configuration file write "
    )
    assert meaning in ended.err
    assert ended.err.count("\n") == 1
