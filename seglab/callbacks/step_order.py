"""The one component that owns the order of a training step.

backward → unscale → add penalty gradient → clip → decoupled decay → update → prox → restore learning rates, which are scaled from
before the decay on.

Why each piece sits where it does: Lightning calls `on_before_optimizer_step` after the scaler has unscaled the gradients and
before it clips, once per optimizer step and not per accumulated batch: the penalty's gradient belongs there. The optimizer's own
step hooks run only on steps that really happen, not on those that a gradient scaler skips: learning rates and prox belong there.
Lightning runs the first of them before the forward pass unless there is a scaler, and weights must not change between the forward
pass and the update's gradient: decoupled decay sits there with a scaler, in `on_before_optimizer_step` without.
"""

import logging
import math
import re
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from typing_extensions import override

from seglab.callbacks.ranks import check_equal_weights, check_strategy, join_batch_norms, on_processor, rewrap, share_buffers
from seglab.callbacks.trainable import TrainableStages
from seglab.callbacks.trainee import FollowsProgress, Trainee
from seglab.freezing import phase_table, phases_of, scales
from seglab.networks import loaded_weights, weights_summary
from seglab.regularizers import Applied, OptimizerStepSizes, log_overview
from seglab.stage import Progress

log = logging.getLogger("seglab")


class StepOrder(Callback):
    """Applies a module's `regularizer` and `freeze` schedule. It comes with the module; there is no need to add it."""

    def __init__(self) -> None:
        self.applied: Applied | None = None
        self.trainable: TrainableStages | None = None
        self.rates: dict[str, float] = {}
        """The learning rate that the last step applied, by stage."""
        self._factors: dict[str, float] = {}
        """What the schedule multiplies the rates of the present step by, by stage."""
        self._unscaled: list[float] = []
        self._depth = 0
        self._start = Progress(0, 1, 1)
        self._logged: dict[str, Tensor | float] = {}
        self._described: dict[str, str] = {}
        """Regularizer and schedule of a fit."""

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Bind the penalty to the weights as they are before a checkpoint is loaded: what it fixes at the start is then the same after a resume."""
        module = cast(Trainee, pl_module)
        if stage == "fit":
            check_strategy(trainer, freezes=module.freeze_schedule is not None)
            join_batch_norms(trainer)
            self.trainable = TrainableStages(module)
            self._described = {"regularizer": _named(module.regularizer), "freeze schedule": _named(module.freeze_schedule)}
            self.applied = None if module.regularizer is None else module.regularizer.bind(module.weights())

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise ValueError(f"a SegmentationModule trains with one optimizer; configure_optimizers gave {len(trainer.optimizers)}")
        module = cast(Trainee, pl_module)
        self._depth = 0
        optimizer = _plain(trainer.optimizers[0])
        check_optimizer(module, optimizer)
        scales_gradients = getattr(optimizer, "_step_supports_amp_scaling", False)
        if module.regularizer is not None and scales_gradients and _has_scaler(trainer):
            raise ValueError(
                "a fused optimizer in 16-mixed keeps its gradients scaled, and a penalty would vanish beside them: use fused=False, or bf16-mixed"
            )
        names = {group.get("name") for group in optimizer.param_groups}
        if module.freeze_schedule is not None and not {stage.name for stage in module.stages.stages} <= names:
            raise ValueError(
                "a freeze schedule needs one optimizer group for each stage, with its name; keep SegmentationModule.configure_optimizers"
            )
        optimizer.register_step_pre_hook(lambda optimizer, _args, _kwargs: self._scale(trainer, optimizer))
        optimizer.register_step_post_hook(lambda optimizer, _args, _kwargs: self._finish(optimizer))

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = cast(Trainee, pl_module)
        self._start = beginning(trainer)
        trainer.fit_loop._load_combined_loader_states()  # a scheduler that asks for the number of steps makes Lightning forget to do it
        phases = phase_rows(module, self._start)
        if trainer.is_global_zero:
            log_start(trainer, module, phases)
        self._follow_schedule(trainer, module)
        if self.applied is not None and module.regularizer is not None:
            self.applied.start(self._start.steps)
            if trainer.world_size > 1:  # each rank may have begun with weights of its own, and follows the first from now on
                self.applied.load_state_dict(trainer.strategy.broadcast(on_processor(self.applied.state_dict())))
            if trainer.is_global_zero:
                log_overview(module.regularizer, self.applied)

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._follow_schedule(trainer, cast(Trainee, pl_module))
            for part in cast(Trainee, pl_module).loss.modules():
                if isinstance(part, FollowsProgress):
                    part.follow(self._progress(trainer))
        if self.trainable is not None:
            self.trainable.keep_modes()

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Step a plateau here: Lightning does it after the epoch's checkpoint is saved, and a resumed training would lack that step."""
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
            if not _has_scaler(trainer):
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
        """Lightning begins a step before the forward pass: what is saved within it, on an exception, gets the scheduler's own rates."""
        if self._depth > 0 and checkpoint.get("optimizer_states"):
            for group, rate in zip(checkpoint["optimizer_states"][0]["param_groups"], self._unscaled, strict=True):
                group["lr"] = rate

    @override
    def state_dict(self) -> dict[str, Any]:
        return {**self._described, "applied": {} if self.applied is None else self.applied.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for what, now in self._described.items():  # empty in a test, to which penalties and schedules are nothing
            if state_dict.get(what) != now:
                raise ValueError(
                    f"the checkpoint was trained with the {what} {state_dict.get(what)} and this training has {now}: a training goes on as it "
                    "began. To begin a new one from its weights, name the checkpoint as the weights of the network"
                )
        if self.applied is not None:
            self.applied.load_state_dict(state_dict["applied"])

    def _scale(self, trainer: L.Trainer, optimizer: Optimizer) -> None:
        """Put each stage's multiplier on its learning rate, for this step alone: schedulers go on from the rate they set.

        torch runs an optimizer's hooks again when a subclass calls `super().step()`; only the outermost call is a step.
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
        if self.applied is not None and _has_scaler(trainer):
            self.applied.decouple(OptimizerStepSizes(optimizer))

    def _finish(self, optimizer: Optimizer) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        if self.applied is not None:
            self.applied.after_update(OptimizerStepSizes(optimizer))
        for group, rate in zip(optimizer.param_groups, self._unscaled, strict=True):
            group["lr"] = rate

    def _follow_schedule(self, trainer: L.Trainer, module: Trainee) -> None:
        """Before an optimizer step, take the factors that the schedule gives it; freeze and unfreeze what they ask for."""
        self._factors = scales(module.freeze_schedule, module.stages.stages, self._progress(trainer))
        names = frozenset(name for name, factor in self._factors.items() if factor > 0)
        if self.trainable is None or names == self.trainable.names:
            return
        if self.trainable.names is not None:  # DDP gives all ranks the weights of the first when it is built, and would hide a difference
            check_equal_weights(trainer, trainer.lightning_module)
        self.trainable.set(names, _plain(trainer.optimizers[0]))
        rewrap(trainer)

    def _progress(self, trainer: L.Trainer) -> Progress:
        return self._start.at(trainer.global_step)


def beginning(trainer: L.Trainer) -> Progress:
    """The length of a training, as its schedules see it.

    Raises:
        ValueError: for a training without a planned end.
    """
    steps = trainer.estimated_stepping_batches
    if steps == math.inf:
        raise ValueError("this training has no planned end, and schedules follow the progress towards it: give max_epochs or max_steps")
    batches = trainer.num_training_batches
    per_epoch = steps if batches == math.inf else -(-int(batches) // trainer.accumulate_grad_batches)
    return Progress(0, max(1, int(steps)), max(1, int(per_epoch)))


def phase_rows(module: Trainee, start: Progress) -> list[dict[str, str]]:
    """The phases of a training that begins at `start`, in words; a ValueError for a schedule that cannot be meant for it."""
    stages = list(module.stages.stages)
    phases = phases_of(module.freeze_schedule, stages, start)
    sizes = {name: parameter.numel() for name, parameter in module.network.named_parameters()}
    return phase_table(phases, {stage.name: sum(sizes[name] for name in module.stages.stages[stage]) for stage in stages})


def log_start(trainer: L.Trainer, module: Trainee, phases: list[dict[str, str]]) -> None:
    """Log what the network begins with and which stages train when: for the eye, and among the settings of every logger."""
    if loaded_weights(module.network) is not None:
        log.info("weights %s", weights_summary(module.network))
    if module.freeze_schedule is not None:
        log.info("%r\n%s", module.freeze_schedule, "\n".join(aligned(phases)))
        for logger in trainer.loggers:
            logger.log_hyperparams({"freezing": phases})


def aligned(rows: list[dict[str, str]]) -> list[str]:
    """A table as lines of text, its columns as wide as they must be."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def check_optimizer(module: Trainee, optimizer: Optimizer) -> None:
    """Check that the module's regularizer can act beside `optimizer`.

    Raises:
        ValueError: the regularizer refuses the optimizer, or the optimizer decays weights that the regularizer penalizes too and the
            module does not set `allow_double_decay`.
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
    """λR, and the factors on λ where there are any, as `Relative` and `Scheduled` set them."""
    terms = applied.terms()
    factors = {f"train/penalty_factor{f'/{place}' if len(terms) > 1 else ''}": term.factor for place, term in enumerate(terms)}
    return {"train/penalty": applied.value()} | (factors if any(factor != 1 for factor in factors.values()) else {})


def _has_scaler(trainer: L.Trainer) -> bool:
    """Whether gradients are scaled, so that steps may be skipped: 16-mixed."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _monitored(trainer: L.Trainer, name: str | None) -> Tensor:
    """The metric that a plateau watches."""
    found = trainer.callback_metrics
    if name not in found:
        raise ValueError(f"ReduceLROnPlateau: there is no metric {name!r} to watch; the validation logs {', '.join(sorted(found))}")
    return found[name]


def _named(description: object) -> str:
    """The repr of a regularizer or schedule, the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(description))


def _is_logged(trainer: L.Trainer, step: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0


def _plain(optimizer: Any) -> Optimizer:
    """The torch optimizer inside Lightning's wrapper."""
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, Optimizer):
        raise TypeError(f"expected a torch optimizer, got {type(inner).__name__}")
    return inner
