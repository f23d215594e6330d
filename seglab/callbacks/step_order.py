"""Define the order of a training step.

The order is: backward → unscale → add penalty gradient → clip → decoupled decay → update → prox → restore learning
rates. The freezing schedule scales the learning rates before the decay.

Each part has its place for a reason:

- The penalty's gradient is added in `on_before_optimizer_step`. Lightning calls this hook once per optimizer step, not
  per accumulated batch, after the gradient scaler has unscaled and before clipping.
- Learning rates and prox use the optimizer's own step hooks, because these do not run for a step that a gradient scaler
  skips.
- Weights must not change between the forward pass and the update. Without a gradient scaler, Lightning runs the
  optimizer's first hook before the forward pass, so decoupled decay is in `on_before_optimizer_step`. With a scaler,
  the decay is in the optimizer's hook.
"""

import logging
import math
import re
from dataclasses import asdict
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from typing_extensions import override

from seglab.callbacks.lightning_internals import end_loader_workers, restore_train_loader, rewrap_ddp, scales_gradients
from seglab.callbacks.ranks import check_batch_norms, check_equal_weights, check_sampling, check_strategy, on_cpu, share_buffers
from seglab.callbacks.trainable import TrainableStages, batch_norms
from seglab.callbacks.trainee import FollowsProgress, Trainee
from seglab.callbacks.trainer_checks import check_accumulation, check_precision, check_unused
from seglab.freezing import phase_table, phases_of, scales
from seglab.networks import loaded_weights, weights_summary
from seglab.networks.modes import check_evaluation, check_modes, check_training
from seglab.regularizers import Applied, OptimizerStepSizes, log_overview
from seglab.stage import Progress

log = logging.getLogger("seglab")


class StepOrder(Callback):
    """Applies a module's `regularizer` and `freeze` schedule.

    Every `SegmentationModule` brings one; do not add it to a trainer.
    """

    def __init__(self) -> None:
        self.applied: Applied | None = None
        self.trainable: TrainableStages | None = None
        self.rates: dict[str, float] = {}
        """Learning rate of each stage at the last step, by stage name."""
        self._factors: dict[str, float] = {}
        """Factor of the freezing schedule on the learning rate of each stage at the present step, by stage name."""
        self._unscaled: list[float] = []
        self._depth = 0
        self._start = Progress(0, 1, 1)
        self._logged: dict[str, Tensor | float] = {}
        self._described: dict[str, str] = {}
        """Regularizer and freezing schedule of a fit as text, which a resumed training must share."""
        self._followers: list[FollowsProgress] = []
        """Parts of the loss that change during training."""
        self._followed: Progress | None = None
        """Progress that these parts follow; None until the first step."""
        self._norms: dict[str, type[nn.Module]] = {}
        """Type of each module of the network, by name, before the trainer converts batch norms."""

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Bind the penalty to the initial weights before a checkpoint is loaded.

        A resumed training then computes the penalty from the same initial weights.
        """
        module = cast(Trainee, pl_module)
        check_precision(trainer)
        if stage == "fit":
            check_strategy(trainer, freezes=module.freeze_schedule is not None)
            self._norms = {name: type(part) for name, part in module.network.named_modules()} if trainer.world_size > 1 else {}
            self.trainable = TrainableStages(module)
            self._described = {"regularizer": _named(module.regularizer), "freeze schedule": _named(module.freeze_schedule)}
            self.applied = None if module.regularizer is None else module.regularizer.bind(module.weights())

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise ValueError(f"a SegmentationModule trains with one optimizer; configure_optimizers gave {len(trainer.optimizers)}")
        check_unused(trainer)
        module = cast(Trainee, pl_module)
        check_modes(module.network)
        check_training(module.network, batch_norms(module.network) if module.batch_norm == "frozen" else ())
        check_batch_norms(self._norms, module.network)
        self._depth = 0
        optimizer = _plain(trainer.optimizers[0])
        check_optimizer(module, optimizer)
        if module.regularizer is not None and scales_gradients(trainer) and _is_fused(optimizer):
            raise ValueError(
                "a fused optimizer in 16-mixed keeps its gradients scaled, and a penalty would vanish beside them: use fused=False, or bf16-mixed"
            )
        names = {group.get("name") for group in optimizer.param_groups}
        if module.freeze_schedule is not None and not {stage.name for stage in module.stages.stages} <= names:
            raise ValueError(
                "a freeze schedule needs one optimizer group for each stage, with its name: keep SegmentationModule.configure_optimizers"
            )
        optimizer.register_step_pre_hook(lambda optimizer, _args, _kwargs: self._scale(trainer, optimizer))
        optimizer.register_step_post_hook(lambda optimizer, _args, _kwargs: self._finish(trainer, optimizer))

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = cast(Trainee, pl_module)
        check_sampling(trainer, trainer.train_dataloader)
        self._start = beginning(trainer)
        restore_train_loader(trainer)
        phases = phase_rows(module, self._start)
        if trainer.is_global_zero:
            log_start(trainer, module, phases)
        self._follow_saved(module)
        self._follow_schedule(trainer, module)
        if self.applied is not None and module.regularizer is not None:
            self.applied.start(self._start.steps)
            if trainer.world_size > 1:  # ranks may have begun with different weights; now all ranks have the weights of the first rank
                self.applied.load_state_dict(trainer.strategy.broadcast(on_cpu(self.applied.state_dict())))
            if trainer.is_global_zero:
                log_overview(module.regularizer, self.applied)

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._follow_schedule(trainer, cast(Trainee, pl_module))
            self._followed = self._progress(trainer)
            for part in self._followers:
                part.follow(self._followed)
        if self.trainable is not None:
            self.trainable.keep_modes()

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_evaluation(cast(Trainee, pl_module).network)
        check_sampling(trainer, trainer.val_dataloaders)
        if trainer.state.fn != "fit":
            self._follow_saved(cast(Trainee, pl_module))

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_evaluation(cast(Trainee, pl_module).network)
        check_sampling(trainer, trainer.test_dataloaders)
        self._follow_saved(cast(Trainee, pl_module))

    @override
    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_evaluation(cast(Trainee, pl_module).network)

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        end_loader_workers(trainer)

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Step a `ReduceLROnPlateau`.

        Lightning would step it after saving the epoch's checkpoint, so a resumed training would lack the step.
        """
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            for config in trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    config.scheduler.step(_monitored(trainer, config.monitor))

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_equal_weights(trainer, pl_module)
        share_buffers(trainer, cast(Trainee, pl_module).network)

    @override
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        progress = self._progress(trainer)
        if self.applied is not None:
            self.applied.observe(progress)
            self.applied.before_update(progress)
            if not scales_gradients(trainer):
                self.applied.decouple(OptimizerStepSizes(_plain(optimizer)))
        if _is_logged(trainer, progress.step):
            self._logged |= {"train/penalty": 0.0} if self.applied is None else penalty_log(self.applied)

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._logged and trainer.is_global_zero:
            values = {name: float(value) for name, value in self._logged.items()}
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step - 1)
        self._logged = {}

    @override
    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the scheduler's own learning rates if a checkpoint is saved within a step.

        An exception within a step can save a checkpoint while the learning rates are scaled.
        """
        if self._depth > 0 and checkpoint.get("optimizer_states"):
            for group, rate in zip(checkpoint["optimizer_states"][0]["param_groups"], self._unscaled, strict=True):
                group["lr"] = rate

    @override
    def state_dict(self) -> dict[str, Any]:
        followed = None if self._followed is None else asdict(self._followed)
        return {**self._described, "applied": {} if self.applied is None else self.applied.state_dict(), "followed": followed}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for what, now in self._described.items():  # empty outside of a fit, where penalties and schedules do not act
            if state_dict.get(what) != now:
                raise ValueError(
                    f"the checkpoint was trained with the {what} {state_dict.get(what)} and this training has {now}. Resume with the {what} of "
                    "the checkpoint, or begin a new training that loads the checkpoint as the weights of its network"
                )
        if self.applied is not None:
            self.applied.load_state_dict(state_dict["applied"])
        followed = state_dict.get("followed")  # checkpoints of version 0.3.0 lack it
        self._followed = None if followed is None else Progress(**followed)

    def _scale(self, trainer: L.Trainer, optimizer: Optimizer) -> None:
        """Multiply each stage's learning rate by the schedule's factor, for this step only.

        `_finish` restores the scheduler's rates.

        torch runs an optimizer's hooks again if a subclass calls `super().step()`; only the outermost call is a step.
        """
        self._depth += 1
        if self._depth > 1:
            return
        self._unscaled = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self._factors.get(group.get("name", ""), 1.0)
        self.rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups if "name" in group}
        if _is_logged(trainer, trainer.global_step) and self.trainable is not None:
            self._logged |= {f"stage/{name}/lr": rate for name, rate in self.rates.items()}
            self._logged |= {"train/trainable_parameters": float(self.trainable.parameters)}
        if self.applied is not None and scales_gradients(trainer):
            self.applied.decouple(OptimizerStepSizes(optimizer))

    def _finish(self, trainer: L.Trainer, optimizer: Optimizer) -> None:
        """Apply the regularizer's part after the update (such as a prox), and restore the learning rates."""
        self._depth -= 1
        if self._depth > 0:
            return
        if self.applied is not None:
            with trainer.profiler.profile("penalty at the update"):  # type: ignore[attr-defined]  # set by its __init__, not declared
                self.applied.after_update(OptimizerStepSizes(optimizer))
        for group, rate in zip(optimizer.param_groups, self._unscaled, strict=True):
            group["lr"] = rate

    def _follow_schedule(self, trainer: L.Trainer, module: Trainee) -> None:
        """Ask the schedule for the factors of the next optimizer step, and freeze and unfreeze stages accordingly."""
        self._factors = scales(module.freeze_schedule, module.stages.stages, self._progress(trainer))
        names = frozenset(name for name, factor in self._factors.items() if factor > 0)
        if self.trainable is None or names == self.trainable.names:
            return
        if self.trainable.names is not None:  # wrapping in DDP copies the weights of the first rank, which would hide a difference
            check_equal_weights(trainer, trainer.lightning_module)
        self.trainable.set(names, _plain(trainer.optimizers[0]))
        rewrap_ddp(trainer)

    def _follow_saved(self, module: Trainee) -> None:
        """Find the parts of the loss that change, and give them the progress of the checkpoint, if one was loaded.

        A validation or test before the next step then computes the loss as the training that saved the checkpoint.
        """
        self._followers = [part for part in module.loss.modules() if isinstance(part, FollowsProgress)]
        if self._followed is not None:
            for part in self._followers:
                part.follow(self._followed)

    def _progress(self, trainer: L.Trainer) -> Progress:
        return self._start.at(trainer.global_step)


def beginning(trainer: L.Trainer) -> Progress:
    """Return the progress of a training before its first step, which holds its length.

    Raises:
        ValueError: the training has no planned end, or its steps cannot be counted.
    """
    check_accumulation(trainer)
    steps = trainer.estimated_stepping_batches
    if steps == math.inf:
        raise ValueError(
            "this training has no planned end, and schedules are functions of the progress towards it: give max_epochs or max_steps"
        )
    batches = trainer.num_training_batches
    per_epoch = steps if batches == math.inf else -(-int(batches) // trainer.accumulate_grad_batches)
    return Progress(0, max(1, int(steps)), max(1, int(per_epoch)))


def phase_rows(module: Trainee, start: Progress) -> list[dict[str, str]]:
    """Return the phases of a training as rows of a table, one for each span of steps in which the same stages train.

    Args:
        module: the module, whose schedule is followed.
        start: the progress at the beginning of the training.

    Raises:
        ValueError: the schedule does not fit the training, for example because it unfreezes a stage after the end.
    """
    stages = list(module.stages.stages)
    phases = phases_of(module.freeze_schedule, stages, start)
    sizes = {name: parameter.numel() for name, parameter in module.network.named_parameters()}
    return phase_table(phases, {stage.name: sum(sizes[name] for name in module.stages.stages[stage]) for stage in stages})


def log_start(trainer: L.Trainer, module: Trainee, phases: list[dict[str, str]]) -> None:
    """Log the origin of the initial weights and the phases of the freezing schedule, as text and to every logger."""
    if loaded_weights(module.network) is not None:
        log.info("weights %s", weights_summary(module.network))
    if module.freeze_schedule is not None:
        log.info("%r\n%s", module.freeze_schedule, "\n".join(aligned(phases)))
        for logger in trainer.loggers:
            logger.log_hyperparams({"freezing": phases})


def aligned(rows: list[dict[str, str]]) -> list[str]:
    """Format a table as lines of text with aligned columns."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def check_optimizer(module: Trainee, optimizer: Optimizer) -> None:
    """Check that the module's regularizer can act beside `optimizer`.

    Raises:
        ValueError: the regularizer refuses the optimizer, or the optimizer decays weights that the regularizer
            penalizes too and the module does not set `allow_double_decay`.
    """
    regularizer = module.regularizer
    if regularizer is None:
        return
    regularizer.check_optimizer(optimizer)
    decay = max(float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups)
    if decay > 0 and not module.allow_double_decay and regularizer.decays_weights:
        raise ValueError(
            f"{type(optimizer).__name__} has weight_decay {decay} beside {regularizer!r}: weights would decay twice, and the arm would not "
            "show what the penalty does. Give the optimizer weight_decay=0 (torch's AdamW has 0.01 by default; Decoupled(L2(0.01)) is the "
            "same), or ask for both with allow_double_decay=True"
        )


def penalty_log(applied: Applied) -> dict[str, Tensor | float]:
    """Return λR, and the factors on λ if `Relative` or `Scheduled` sets one other than 1."""
    terms = applied.terms()
    factors = {f"train/penalty_factor{f'/{place}' if len(terms) > 1 else ''}": term.factor for place, term in enumerate(terms)}
    return {"train/penalty": applied.value()} | (factors if any(factor != 1 for factor in factors.values()) else {})


def _is_fused(optimizer: Optimizer) -> bool:
    """Return whether the optimizer unscales gradients by itself, within its step."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def _monitored(trainer: L.Trainer, name: str | None) -> Tensor:
    """Return the metric that a `ReduceLROnPlateau` watches."""
    found = trainer.callback_metrics
    if name not in found:
        raise ValueError(f"ReduceLROnPlateau: there is no metric {name!r} to watch; the validation logs {', '.join(sorted(found))}")
    return found[name]


def _named(description: object) -> str:
    """Return the repr of a regularizer or schedule without memory addresses, which differ between processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(description))


def _is_logged(trainer: L.Trainer, step: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0


def _plain(optimizer: Any) -> Optimizer:
    """Return the torch optimizer inside of Lightning's wrapper."""
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, Optimizer):
        raise TypeError(f"expected a torch optimizer, got {type(inner).__name__}")
    return inner
