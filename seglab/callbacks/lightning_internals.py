"""All uses of Lightning's private parts: private attributes, and the layout of the state of its loops.

Each use is a function with its reason and, if known, the Lightning issue whose solution would make it unnecessary.
Nothing else in seglab may touch these parts. `tests/callbacks/test_lightning_internals.py` calls each function on real
objects of the installed Lightning and names the attribute that is missing. pyproject.toml limits Lightning to the
versions that were tested.

Issue numbers are of https://github.com/Lightning-AI/pytorch-lightning.
"""

import signal
from typing import Any

import lightning as L
from lightning.pytorch import utilities
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy


def batches_started(trainer: L.Trainer) -> int:
    """Return the number of training batches that were started before the present one, over all epochs.

    Reason: `trainer.global_step` counts optimizer steps, and a random seed is needed for each of the batches that one
    step accumulates.
    """
    return int(trainer.fit_loop.epoch_loop.total_batch_idx)


def align_logged_steps(trainer: L.Trainer) -> None:
    """Set the step of the next row of the log to the number of optimizer steps.

    Reason: where a validation is due after a batch, a training that resumes behind this batch passes an iteration
    without a batch, and Lightning counts it as a step of the log. No public attribute holds this count.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def restore_train_loader(trainer: L.Trainer) -> None:
    """Load the state of the training loader from the checkpoint that the trainer resumes from.

    Reason: if `configure_optimizers` asks for `trainer.estimated_stepping_batches`, Lightning makes the loader before
    it reads the checkpoint, and then never loads the loader's state (issue 20550). Loading the state twice does no
    harm.
    """
    trainer.fit_loop._load_combined_loader_states()


def averages_over_epoch(trainer: L.Trainer) -> bool:
    """Return whether `self.log(..., on_epoch=True)` has collected values in the present training epoch.

    Reason: no checkpoint holds these values since Lightning 2.0 (pull request 16516), so a training that has some
    cannot be resumed exactly within an epoch.
    """
    metrics = trainer.fit_loop.epoch_loop._results.result_metrics
    return any(metric.meta.on_epoch and not metric.has_reset for metric in metrics)


def rewind_batch(checkpoint: dict[str, Any]) -> None:
    """Change a checkpoint saved in `on_train_batch_start` so that a resumed training begins with this very batch.

    Before the first batch of an epoch, the resumed training also begins the epoch again and calls its hooks.

    Reason: Lightning counts a batch before its hooks run, so a resumed training skips or repeats a batch (issues 18060,
    19815). No public method changes the counts.
    """
    fit_loop = checkpoint["loops"]["fit_loop"]
    batches = fit_loop["epoch_loop.batch_progress"]
    batches["is_last_batch"] = False
    for count in (batches["total"], batches["current"]):
        count["ready"] = count["completed"]
    for loader in fit_loop["state_dict"]["combined_loader"]:
        loader["batches"] -= 1
    if batches["current"]["completed"] == 0:
        for count in (fit_loop["epoch_progress"]["total"], fit_loop["epoch_progress"]["current"]):
            count["ready"] = count["started"] = count["completed"]


def rewind_validation(checkpoint: dict[str, Any]) -> None:
    """Change a checkpoint saved within a validation so that a resumed training begins at the validation's first batch.

    Reason: Lightning would skip the batches that were validated already. No checkpoint holds the scores of these
    batches.
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    batches["is_last_batch"] = False
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["total"] = {**batches["current"], "ready": 1, "started": 1}


def continue_after_end(checkpoint: dict[str, Any]) -> None:
    """Change a checkpoint saved after a training so that a longer training continues as if this one had not ended.

    After a whole epoch, the longer training begins with the next epoch. Within an epoch, which `max_steps` can end, it
    begins with the next batch.

    Reason: Lightning counts an epoch that `max_steps` cut off as complete, and takes the batches of a complete epoch
    for batches of the next one (issue 18060). No public method changes the counts.
    """
    fit_loop = checkpoint["loops"]["fit_loop"]
    batches = fit_loop["epoch_loop.batch_progress"]
    if batches["is_last_batch"]:
        batches["is_last_batch"] = False
        batches["current"] = dict.fromkeys(batches["current"], 0)
    else:
        for count in (fit_loop["epoch_progress"]["total"], fit_loop["epoch_progress"]["current"]):
            count["processed"] -= 1
            count["completed"] -= 1


def end_loader_workers(trainer: L.Trainer) -> None:
    """End the worker processes of the training loader.

    Reason: after an exception in a validation, Lightning tears down only the validation loop. The training loader's
    workers then live until the process exits, which asks them to stop by SIGTERM. They ignore it, and the exit waits.
    """
    trainer.fit_loop.teardown()


def rewrap_ddp(trainer: L.Trainer) -> None:
    """Wrap the module in DDP again, if the strategy is DDP.

    Reason: DDP's reducer knows only the parameters that required a gradient when the module was wrapped. Unfreezing
    within a training therefore needs a new wrapper, which Lightning's own finetuning callbacks do not make (issue
    20340).
    """
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy.model = trainer.lightning_module
        trainer.strategy.configure_ddp()


def has_static_graph(strategy: Strategy) -> bool:
    """Return whether a DDP strategy was made with `static_graph=True`.

    Reason: a freezing schedule changes the graph, and the strategy keeps DDP's arguments in a private attribute.
    """
    return isinstance(strategy, DDPStrategy) and bool(strategy._ddp_kwargs.get("static_graph"))


def scales_gradients(trainer: L.Trainer) -> bool:
    """Return whether a gradient scaler is at work, as in 16-mixed, so that optimizer steps may be skipped.

    Reason: the base class of precision plugins has no `scaler`; only the plugin for mixed precision has one.
    """
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def kill_launched_ranks(trainer: L.Trainer) -> None:
    """Kill the other ranks that this process launched.

    Otherwise they wait for this process until they time out, and report a failure.

    Reason: Lightning kills them after a KeyboardInterrupt only. The launcher is public, its `kill` is not documented.
    """
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(signal.SIGKILL)


def become_rank_zero() -> None:
    """Make this process rank 0, which alone logs and writes, whatever other launchers wrote into its environment.

    Reason: Lightning reads the rank from variables such as RANK when it is imported, and a training on one device does
    not set it again.
    """
    utilities.rank_zero_only.rank = 0  # type: ignore[attr-defined]  # an attribute of a function


def csv_path(logger: CSVLogger) -> str:
    """Return the path of the file that a CSV logger writes.

    Reason: the logger offers its folder only; the file's name is an attribute of its undocumented writer.
    """
    return str(logger.experiment.metrics_file_path)


def set_csv_columns(logger: CSVLogger, columns: list[str]) -> None:
    """Tell a CSV logger which columns its file has, so that it appends rows to a file that it has not written itself.

    Reason: a new logger knows no columns and would write a second header. It also deletes an existing file when it
    starts (pull request 19446), so a resumed training writes the rows of its checkpoint again.
    """
    logger.experiment.metrics_keys = columns
