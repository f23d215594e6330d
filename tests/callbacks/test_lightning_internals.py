"""Lightning's private parts are where `lightning_internals` expects them, and the rest of seglab uses none.

If an update of Lightning drops a part, the first test names it and the function that needs it.
"""

import ast
import inspect
import operator
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch import utilities
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy

import seglab
from seglab.callbacks import lightning_internals
from seglab.data import SegmentationDataModule
from seglab.module import SegmentationModule
from tests.nets import fixed_module
from tests.trainers import quiet_trainer


class Within(Callback):
    """Calls a function with the trainer in the second batch of the second epoch, and keeps what it returns.

    At the start of each validation batch, a checkpoint is saved as `validation.ckpt`.
    """

    def __init__(self, look: Callable[[L.Trainer], Any]) -> None:
        self.look, self.found = look, None
        self.checkpoint: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1 and batch_idx == 1:
            self.found = self.look(trainer)

    def on_validation_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, *_: Any) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir, "validation.ckpt"))


def looked(shapes: SegmentationDataModule, folder: Path, look: Callable[[L.Trainer], Any], module: SegmentationModule | None = None) -> Any:
    """Return what a function finds within a real training on one device that logs to a CSV file."""
    within = Within(look)
    trainer = quiet_trainer(callbacks=[within], default_root_dir=folder, logger=CSVLogger(folder), limit_val_batches=1, log_every_n_steps=1)
    trainer.fit(fixed_module(None) if module is None else module, datamodule=shapes)
    return within.found


def saved(trainer: L.Trainer) -> dict[str, Any]:
    path = Path(trainer.default_root_dir, "batch.ckpt")
    trainer.save_checkpoint(path)
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


PATHS: dict[str, list[str]] = {
    "batches_started": ["fit_loop.epoch_loop.total_batch_idx"],
    "align_logged_steps": ["fit_loop.epoch_loop._batches_that_stepped"],
    "restore_train_loader": ["fit_loop._load_combined_loader_states"],
    "averages_over_epoch": ["fit_loop.epoch_loop._results.result_metrics"],
    "end_loader_workers": ["fit_loop.teardown"],
    "scales_gradients": ["precision_plugin"],
    "kill_launched_ranks": ["strategy.launcher"],
    "csv_path": ["logger.experiment.metrics_file_path"],
    "set_csv_columns": ["logger.experiment.metrics_keys"],
}
"""The attributes, from the trainer on, that each function of `lightning_internals` uses."""

KEYS: dict[str, list[tuple[str, ...]]] = {
    "rewind_batch": [
        ("loops", "fit_loop", "epoch_loop.batch_progress", "is_last_batch"),
        *(
            ("loops", "fit_loop", "epoch_loop.batch_progress", kind, count)
            for kind in ("total", "current")
            for count in ("ready", "completed")
        ),
        *(
            ("loops", "fit_loop", "epoch_progress", kind, count)
            for kind in ("total", "current")
            for count in ("ready", "started", "completed")
        ),
        ("loops", "fit_loop", "state_dict", "combined_loader"),
    ],
    "continue_after_end": [
        ("loops", "fit_loop", "epoch_loop.batch_progress", "is_last_batch"),
        ("loops", "fit_loop", "epoch_loop.batch_progress", "current"),
        *(("loops", "fit_loop", "epoch_progress", kind, count) for kind in ("total", "current") for count in ("processed", "completed")),
    ],
    "rewind_validation": [
        ("loops", "fit_loop", "epoch_loop.val_loop.batch_progress", key) for key in ("is_last_batch", "current", "total")
    ],
}
"""The keys of a checkpoint that each function of `lightning_internals` uses."""

ELSEWHERE: dict[str, Callable[[], object]] = {
    "become_rank_zero": lambda: utilities.rank_zero_only.rank,  # type: ignore[attr-defined]
    "rewrap_ddp": lambda: (DDPStrategy().configure_ddp, DDPStrategy().model),
    "has_static_graph": lambda: DDPStrategy(static_graph=True)._ddp_kwargs["static_graph"],
}
"""Attributes that other functions of `lightning_internals` use."""


def has(trainer: L.Trainer, path: str) -> bool:
    try:
        operator.attrgetter(path)(trainer)
    except AttributeError:
        return False
    return True


def test_nothing_has_gone(shapes: SegmentationDataModule, tmp_path: Path) -> None:
    def look(trainer: L.Trainer) -> tuple[list[str], dict[str, Any]]:
        return [path for paths in PATHS.values() for path in paths if not has(trainer, path)], saved(trainer)

    missing, checkpoint = looked(shapes, tmp_path, look)
    for function, paths in KEYS.items():
        for path in paths:
            inner: Any = checkpoint
            for place, key in enumerate(path):
                if not isinstance(inner, dict) or key not in inner:
                    missing.append(f"checkpoint{list(path[: place + 1])} ({function})")
                    break
                inner = inner[key]
    for function, use in ELSEWHERE.items():
        try:
            use()
        except AttributeError as error:
            missing.append(f"{error} ({function})")
    assert missing == [], f"Lightning {L.__version__} has dropped what seglab.callbacks.lightning_internals uses"


def test_every_function_is_on_the_list() -> None:
    functions = {name for name, _ in inspect.getmembers(lightning_internals, inspect.isfunction) if not name.startswith("_")}
    assert functions == {*PATHS, *KEYS, *ELSEWHERE}


@pytest.mark.slow
def test_the_first_rank_is_what_decides_who_logs() -> None:
    """Lightning takes the rank from its environment when it is imported; a fresh process of rank 3 writes nothing."""
    code = (
        "from lightning.pytorch.utilities import rank_zero_only; from seglab.callbacks.lightning_internals import become_rank_zero\n"
        "say = rank_zero_only(print); say('before'); become_rank_zero(); say('after')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "RANK": "3"}, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "after\n"


def test_batches_are_counted_over_epochs_and_accumulation(shapes: SegmentationDataModule, tmp_path: Path) -> None:
    assert looked(shapes, tmp_path, lightning_internals.batches_started) == 3 + 1  # 3 batches an epoch, and one of the second


class Averaging(SegmentationModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("mine", loss, on_epoch=True, batch_size=4)
        return loss


@pytest.mark.parametrize("kind", [SegmentationModule, Averaging])
def test_averages_over_an_epoch_are_seen(kind: type[SegmentationModule], shapes: SegmentationDataModule, tmp_path: Path) -> None:
    found = looked(shapes, tmp_path, lightning_internals.averages_over_epoch, fixed_module(None, kind=kind))
    assert found == (kind is Averaging)


def test_a_rewound_batch_is_the_next_of_a_resumed_training(shapes: SegmentationDataModule, tmp_path: Path) -> None:
    checkpoint = looked(shapes, tmp_path, saved)
    before = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert (before["ready"], before["completed"]) == (2, 1)
    lightning_internals.rewind_batch(checkpoint)
    after = checkpoint["loops"]["fit_loop"]
    assert after["epoch_loop.batch_progress"]["current"]["ready"] == 1
    assert after["state_dict"]["combined_loader"][0]["batches"] == 1


def test_a_rewound_validation_has_no_batch_done(shapes: SegmentationDataModule, tmp_path: Path) -> None:
    looked(shapes, tmp_path, lambda trainer: None)
    checkpoint = torch.load(tmp_path / "validation.ckpt", weights_only=True)
    lightning_internals.rewind_validation(checkpoint)
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    assert set(progress["current"].values()) == {0}
    assert (progress["total"]["ready"], progress["total"]["completed"]) == (1, 0)


def test_a_scaler_is_seen() -> None:
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    assert lightning_internals.scales_gradients(quiet_trainer(plugins=[scaled]))
    assert not lightning_internals.scales_gradients(quiet_trainer())
    assert not lightning_internals.scales_gradients(quiet_trainer(precision="bf16-mixed"))


def test_a_static_graph_is_seen() -> None:
    assert lightning_internals.has_static_graph(DDPStrategy(static_graph=True))
    assert not lightning_internals.has_static_graph(DDPStrategy())


def test_launched_ranks_are_killed() -> None:
    """The launcher holds the processes that it has started in `procs`."""
    trainer = quiet_trainer(devices=2, strategy=DDPStrategy(process_group_backend="gloo"))
    launcher: Any = trainer.strategy.launcher
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        launcher.procs.append(process)
        lightning_internals.kill_launched_ranks(trainer)
        assert process.wait(10) == -9
    lightning_internals.kill_launched_ranks(quiet_trainer())  # one device has no launcher


def test_a_log_goes_on_with_its_columns(tmp_path: Path) -> None:
    first = CSVLogger(tmp_path, name="", version="")
    first.log_metrics({"a": 1.0, "b": 2.0}, step=0)
    first.save()
    path = Path(lightning_internals.csv_path(first))
    text = path.read_text()
    second = CSVLogger(tmp_path / "again", name="", version="")
    again = Path(lightning_internals.csv_path(second))
    again.write_text(text)
    lightning_internals.set_csv_columns(second, text.splitlines()[0].split(","))
    second.log_metrics({"a": 3.0, "b": 4.0}, step=1)
    second.save()
    assert again.read_text() == text + "3.0,4.0,1\n"


OF_OTHERS = {
    "_BatchNorm",
    "_NormBase",
    "_actions",
    "_asdict",
    "_depth",
    "_exit",
    "_format_action_invocation",
    "_format_args",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_get_default_metavar_for_optional",
    "_get_help_string",
    "_hub_mixin_config",
    "_internal_id",
    "_internal_name",
    "_iter_indented_subactions",
    "_jsonargparse_preexpanded_help",
    "_native_batch_norm_legit_no_training",
    "_on_queue_feeder_error",
    "_option_string_actions",
    "_orig_mod",
    "_replace",
    "_saved_groups",
    "_saved_input",
    "_saved_transposed",
    "_saved_weight",
    "_step_supports_amp_scaling",
    "_to_model",
    "_typehint",
    "_upsample_nearest_exact2d",
}
"""Private names seglab uses from torch, SMP, jsonargparse, wandb-workspaces and the standard library. seglab also uses
`torch._foreach_*`.
"""


def private_names(source: str) -> set[str]:
    """The private attributes that a file uses of other objects, by dot or by `getattr`, `hasattr` and `setattr`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            found.add(node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr") and len(node.args) > 1:
            found.add(str(getattr(node.args[1], "value", "")))
    return {name for name in found if name.startswith("_") and not name.startswith(("__", "_foreach_"))}


def test_nothing_else_uses_private_parts_of_lightning() -> None:
    root = Path(seglab.__file__).parent
    for path in root.rglob("*.py"):
        if path != Path(lightning_internals.__file__):
            assert private_names(path.read_text(encoding="utf-8")) <= OF_OTHERS, path
    assert "_load_combined_loader_states" in private_names(Path(lightning_internals.__file__).read_text(encoding="utf-8"))
