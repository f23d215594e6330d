"""Settings of a fit, which its checkpoints carry, and their comparison with a fit that continues from a checkpoint.

A checkpoint restores the state of optimizer, scheduler and data, and this state would silently win over the request:
over another learning rate, another schedule, another length. A training therefore continues only if it would have come
to this very checkpoint by itself.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seglab.callbacks.step_order import phase_rows
from seglab.callbacks.trainee import FollowsProgress
from seglab.callbacks.trainer_checks import check_accumulation
from seglab.data import SegmentationDataModule
from seglab.freezing import scales
from seglab.losses import WeightedSum
from seglab.module import SegmentationModule
from seglab.records import NUMERICS
from seglab.regularizers import Relative, Scheduled
from seglab.regularizers.regularizer import nested
from seglab.schedulers import make_scheduler
from seglab.stage import Progress
from seglab.study.description import describe_module
from seglab.study.differences import differences
from seglab.study.settings import Settings

log = logging.getLogger("seglab")

OF_THE_TRAINER = (
    "limit_train_batches",
    "limit_val_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
)
"""Arguments of the trainer that change numbers. Its length is compared apart."""

FOLLOWED = 1000
"""Number of past steps at which a function of the progress is compared for two lengths of a training."""


def planned(trainer: L.Trainer, data: SegmentationDataModule) -> Progress:
    """Return the progress of a training before its first step.

    Raises:
        ValueError: there is no batch to train on, or no planned end, or the steps cannot be counted.
    """
    check_accumulation(trainer)
    batches, limit = len(data.train_dataloader()), trainer.limit_train_batches
    used = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if used < 1:
        samples = len(data.used("train"))
        raise ValueError(
            f"there is no batch to train on: {samples} training samples, --data.batch_size {data.batch_size}, "
            f"--trainer.limit_train_batches {limit}; lower the first or raise the second"
        )
    per_epoch = -(-used // trainer.accumulate_grad_batches)
    epochs, steps = trainer.max_epochs, trainer.max_steps
    ends = [*([per_epoch * epochs] if epochs is not None and epochs >= 0 else []), *([steps] if steps >= 0 else [])]
    if not ends or min(ends) < 1:
        raise ValueError(
            f"--trainer.max_epochs {epochs}, --trainer.max_steps {steps}: expected a training with an end, of a step or more; give --trainer.max_epochs"
        )
    return Progress(0, min(ends), per_epoch)


def settings_of(trainer: L.Trainer, module: SegmentationModule, data: SegmentationDataModule, batch_norm_parts: int) -> dict[str, Any]:
    """Return everything that determines the numbers of a fit, as plain data.

    Args:
        trainer, module, data: of the fit, before its training.
        batch_norm_parts: number of parts of a batch that batch norms compute their statistics over.

    Raises:
        ValueError: parts of the training do not fit together, for example the optimizer and the penalty, or schedule
            and length.
    """
    start, settings = planned(trainer, data), Settings()
    with torch.random.fork_rng(devices=[]):
        described = describe_module(module, start)
        phase_rows(module, start)
    plain = settings.plain(data.identity())
    found = {
        "numerics": NUMERICS,
        "seed": data.seed,
        "data": plain,
        "trainer": {name: getattr(trainer, name) for name in OF_THE_TRAINER} | {"precision": trainer.precision},
        "batch_norm_parts": batch_norm_parts,
        "steps": start.steps,
        "steps_per_epoch": start.steps_per_epoch,
        **described,
        "code": {**described["code"], **settings.code},
    }
    plain_json: dict[str, Any] = json.loads(json.dumps(found))
    return plain_json


def check_same(held: Mapping[str, Any], path: Path, now: Mapping[str, Any], module: SegmentationModule) -> None:
    """Check that a fit with the settings `now` continues from a checkpoint as if it had made it.

    Log the differences that do no harm.

    Args:
        held: the content of the checkpoint.
        path: its file.
        now: the settings of this fit.
        module: the module of this fit, before its training.

    Raises:
        ValueError: it does not; each difference is named with both values.
    """
    there: Mapping[str, Any] | None = held.get("fit")
    if there is None or not held.get("optimizer_states"):
        raise ValueError(
            f"--ckpt_path {path}: holds no state and settings of a fit, so that no fit can continue from it. `seglab fit` saves them since "
            "version 0.3.0; a study's run is continued by its own command. `seglab test` accepts all of them"
        )
    done, steps, per_epoch = int(held["global_step"]), int(now["steps"]), int(now["steps_per_epoch"])
    lines = differences(_without(there, "freeze"), _without(now, "freeze"))
    lines += differences({"freeze": (there["freeze"] or {}).get("schedule")}, {"freeze": (now["freeze"] or {}).get("schedule")})
    if not lines:
        lines += _of_the_scheduler(held, module, Progress(done, steps, per_epoch))
    if not lines and there["steps"] != steps:
        old, new = Progress(0, int(there["steps"]), per_epoch), Progress(0, steps, per_epoch)
        lines += [f"steps: {old.steps} → {new.steps}, on which {name} depends" for name in depend_on_length(module, old, new, done)]
    if lines:
        raise ValueError(
            f"--ckpt_path {path}: was trained with other settings, and would go on with them: {'; '.join(lines)} (checkpoint → now). "
            "Give the settings of the checkpoint, such as by --config with the config.yaml of its folder, or begin a new training"
        )
    if done >= steps:
        raise ValueError(
            f"--ckpt_path {path}: has done {done} steps, and this training ends after {steps}: give a larger --trainer.max_epochs"
        )
    if there["steps"] != steps:
        log.info("%s planned %d steps, and this training has %d: nothing before step %d depends on it", path, there["steps"], steps, done)
    for line in differences({"code": there["code"]}, {"code": now["code"]}):
        log.warning("%s: %s since this checkpoint; the training continues with the code as it is now", path, line)


def depend_on_length(module: SegmentationModule, old: Progress, new: Progress, done: int) -> Iterator[str]:
    """Yield the parts of a module that, in its first `done` steps, act differently in trainings of two lengths."""
    stages = list(module.stages.stages)
    if module.freeze_schedule is not None and _differ(lambda at: scales(module.freeze_schedule, stages, at), old, new, done):
        yield "the freezing schedule"
    for part in nested(module.regularizer) if module.regularizer is not None else ():
        if isinstance(part, Scheduled) and _differ(part.factor, old, new, done):
            yield "the factor of Scheduled"
        if isinstance(part, Relative) and math.ceil(part.after * old.steps) != math.ceil(part.after * new.steps):
            yield "the measurement of Relative"
    for loss in module.loss.modules():
        weights = loss.weights.values() if isinstance(loss, WeightedSum) else ()
        if any(callable(weight) and _differ(weight, old, new, done) for weight in weights):
            yield "a weight of WeightedSum"
        if isinstance(loss, FollowsProgress) and not isinstance(loss, WeightedSum):
            yield f"{type(loss).__name__}.follow"


def _differ(function: Callable[[Progress], Any], old: Progress, new: Progress, done: int) -> bool:
    steps = range(0, min(done, old.steps, new.steps), max(1, done // FOLLOWED))
    return any(function(old.at(step)) != function(new.at(step)) for step in steps)


def _of_the_scheduler(held: Mapping[str, Any], module: SegmentationModule, now: Progress) -> list[str]:
    """Return a line for each difference between the scheduler's saved state and its state in this training at `now`.

    The state of a `ReduceLROnPlateau` depends on scores; its arguments are among the settings.
    """
    saved = held.get("lr_schedulers") or []
    if module.scheduler is None or not saved:
        return []
    optimizer = module.make_optimizer()
    span = module.scheduler_span(now)
    scheduler = make_scheduler(module.scheduler, optimizer, span)
    if isinstance(scheduler, ReduceLROnPlateau):
        return []
    optimizer.step()  # without gradients no weight changes; a scheduler warns if the optimizer has made no step
    for _ in range(now.step // span.every):
        scheduler.step()
    rates = [[group["lr"] for group in groups] for groups in (held["optimizer_states"][0]["param_groups"], optimizer.param_groups)]
    return differences(
        {"scheduler": _rounded(saved[0]), "rates": _rounded(rates[0])},
        {"scheduler": _rounded(scheduler.state_dict()), "rates": _rounded(rates[1])},
    )


def _rounded(value: Any) -> Any:
    """Return a scheduler's state as plain data: floats with 10 digits, lists as dicts.

    Functions, and values that only one process knows, are left out.
    """
    if isinstance(value, Mapping):
        left_out = ("_get_lr_called_within_step", "_is_initial", "anneal_func")
        return {str(name): _rounded(item) for name, item in value.items() if name not in left_out and not callable(item)}
    if isinstance(value, list | tuple):
        return {str(place): _rounded(item) for place, item in enumerate(value)}
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the settings that are compared as they are: without `names`, length, code and learning-rate curve.

    The curve follows from the length of the training.
    """
    left = {name: value for name, value in settings.items() if name not in (*names, "steps", "code")}
    scheduler = left.get("scheduler")
    if isinstance(scheduler, Mapping):
        left["scheduler"] = {name: value for name, value in scheduler.items() if name not in ("rates", "all")}
    return left
