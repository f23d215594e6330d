"""The one component that owns the order of a training step.

backward → unscale → add penalty gradient → clip → decoupled decay → update → prox → restore learning rates, which are scaled from
before the decay on.

Why each piece sits where it does: Lightning calls `on_before_optimizer_step` after the scaler has unscaled the gradients and
before it clips, once per optimizer step and not per accumulated batch: the penalty's gradient belongs there. The optimizer's own
step hooks run only on steps that really happen, not on those that a gradient scaler skips: learning rates and prox belong there.
Lightning runs the first of them before the forward pass unless there is a scaler, and weights must not change between the forward
pass and the update's gradient: decoupled decay sits there with a scaler, in `on_before_optimizer_step` without.
"""

import re
from typing import Any, Literal, Protocol, cast

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from seglab.freezing import FreezeSchedule
from seglab.networks import Stages
from seglab.regularizers import (
    Applied,
    FixedNorm,
    OptimizerStepSizes,
    Proximal,
    Regularizer,
    Weight,
    check_preconditioner,
    log_overview,
    nested,
)
from seglab.stage import Progress, Stage


class Trainee(Protocol):
    """What the order of a step needs to know of a module."""

    network: nn.Module
    stages: Stages
    regularizer: Regularizer | None
    freeze_schedule: FreezeSchedule | None
    batch_norm: Literal["train", "frozen"]
    allow_double_decay: bool
    frozen_by_schedule: set[str]

    def weights(self) -> dict[str, Weight]:
        """All parameters that can train."""


class StepOrder(Callback):
    """Applies a module's `regularizer` and `freeze` schedule. It comes with the module; there is no need to add it."""

    def __init__(self) -> None:
        self.applied: Applied | None = None
        self.trainable: frozenset[str] | None = None
        self._unscaled: list[float] = []
        self._depth = 0
        self._steps = 1
        self._kept: set[str] = set()
        """Parameters that somebody froze by hand before the training; they stay frozen."""
        self._logged: dict[str, Tensor | float] = {}
        self._description: str | None = None
        """Of the regularizer, in a fit."""
        self.rates: dict[str, float] = {}
        """The learning rate that the last step applied, by stage."""

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Bind the penalty to the weights as they are before a checkpoint is loaded: what it fixes at the start is then the same after a resume."""
        module = cast(Trainee, pl_module)
        frozen = {name for name, parameter in module.network.named_parameters() if not parameter.requires_grad}
        self._kept = frozen - module.frozen_by_schedule
        if stage == "fit":
            self._description = re.sub(r" at 0x[0-9a-f]+", "", repr(module.regularizer))
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
        optimizer.register_step_pre_hook(lambda optimizer, _args, _kwargs: self._scale(trainer, module, optimizer))
        optimizer.register_step_post_hook(lambda optimizer, _args, _kwargs: self._finish(optimizer))

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.estimated_stepping_batches == float("inf"):
            raise ValueError("this training has no planned end, and schedules follow the progress towards it: give max_epochs or max_steps")
        self._steps = max(1, int(trainer.estimated_stepping_batches))
        module = cast(Trainee, pl_module)
        self._set_trainable(trainer, module)
        if self.applied is not None and module.regularizer is not None:
            self.applied.start(self._steps)
            if trainer.world_size > 1:  # each rank may have begun with weights of its own, and follows the first from now on
                self.applied.load_state_dict(trainer.strategy.broadcast(_on_processor(self.applied.state_dict())))
            if trainer.is_global_zero:
                log_overview(module.regularizer, self.applied)

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._set_trainable(trainer, cast(Trainee, pl_module))

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._freeze_modes(cast(Trainee, pl_module))

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
    def state_dict(self) -> dict[str, Any]:
        return {"regularizer": self._description, "applied": {} if self.applied is None else self.applied.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._description is None:  # a test, to which penalties are nothing
            return
        if state_dict.get("regularizer") != self._description:
            raise ValueError(
                f"the checkpoint was trained with {state_dict.get('regularizer')} and this training has {self._description}: a training goes on "
                "as it began. To begin a new one from its weights, load them into the network"
            )
        if self.applied is not None:
            self.applied.load_state_dict(state_dict["applied"])

    def _scale(self, trainer: L.Trainer, module: Trainee, optimizer: Optimizer) -> None:
        """Put each stage's multiplier on its learning rate, for this step alone: schedulers go on from the rate they set.

        torch runs an optimizer's hooks again when a subclass calls `super().step()`; only the outermost call is a step.
        """
        self._depth += 1
        if self._depth > 1:
            return
        progress = self._progress(trainer)
        self._unscaled = [group["lr"] for group in optimizer.param_groups]
        scale = {stage.name: _scale_of(module, stage, progress) for stage in module.stages.stages}
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * scale.get(group.get("name", ""), 1.0)
        self.rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups if "name" in group}
        if _is_logged(trainer, progress.step):
            self._logged |= {f"stage/{name}/lr": rate for name, rate in self.rates.items()}
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

    def _set_trainable(self, trainer: L.Trainer, module: Trainee) -> None:
        """Decide, for the epoch that starts, which stages train: those whose rate is positive anywhere in it."""
        steps = self._steps_of_epoch(trainer)
        now = frozenset(stage.name for stage in module.stages.stages if any(_scale_of(module, stage, progress) > 0 for progress in steps))
        if not now:
            raise ValueError(
                f"{module.freeze_schedule!r} trains no stage in epoch {trainer.current_epoch}; stages: {', '.join(s.name for s in module.stages.stages)}"
            )
        parameters = dict(module.network.named_parameters())
        trains = {name for stage, names in module.stages.stages.items() if stage.name in now for name in names} - self._kept
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in trains)
            if name not in trains:
                parameter.grad = None
        for stage, names in module.stages.stages.items():
            if stage.name in now and module.frozen_by_schedule & set(names):  # Lightning keeps a module in the mode it finds it in
                for path in module.stages.modules[stage]:
                    module.network.get_submodule(path).train()
        module.frozen_by_schedule = set(parameters) - trains - self._kept
        changed, self.trainable = now != self.trainable, now
        self._freeze_modes(module)
        if changed and isinstance(trainer.strategy, DDPStrategy):  # its reducer knows only what required a gradient when it was built
            trainer.strategy.model = trainer.lightning_module
            trainer.strategy.configure_ddp()

    def _freeze_modes(self, module: Trainee) -> None:
        """Frozen stages stay in evaluation mode: norm statistics, dropout and drop-path as well as weights; frozen batch norms too."""
        if self.trainable is None:
            return
        if module.batch_norm == "frozen":
            for norm in module.network.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    norm.eval()
        for stage, paths in module.stages.modules.items():
            if stage.name not in self.trainable:
                for path in paths:
                    module.network.get_submodule(path).eval()

    def _progress(self, trainer: L.Trainer) -> Progress:
        return Progress(trainer.current_epoch, trainer.global_step, trainer.global_step / self._steps)

    def _steps_of_epoch(self, trainer: L.Trainer) -> list[Progress]:
        per_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        first = min(trainer.current_epoch * per_epoch, self._steps - 1)
        return [Progress(trainer.current_epoch, step, step / self._steps) for step in range(first, min(first + per_epoch, self._steps))]


def check_optimizer(module: Trainee, optimizer: Optimizer) -> None:
    """Refuse an optimizer that decays weights beside a penalty, unless the module allows it, and one whose steps a prox does not know."""
    if module.regularizer is None:
        return
    parts = list(nested(module.regularizer))
    if any(isinstance(part, Proximal) and part.preconditioned for part in parts):
        check_preconditioner(optimizer)
    decay = max(float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups)
    if decay > 0 and not module.allow_double_decay and any(not isinstance(part, FixedNorm) for part in parts):
        raise ValueError(
            f"{type(optimizer).__name__} has weight_decay {decay} beside {module.regularizer!r}: weights would decay twice, and the arm would not "
            "show what the penalty does. Give the optimizer weight_decay=0 (torch's AdamW has 0.01 by default; Decoupled(L2(0.01)) is the "
            "same), or ask for both with allow_double_decay=True"
        )


def _on_processor(state: Any) -> Any:
    """Plain data with its tensors in main memory."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: _on_processor(value) for key, value in state.items()}
    return [_on_processor(value) for value in state] if isinstance(state, list) else state


def penalty_log(applied: Applied) -> dict[str, Tensor | float]:
    """λR, and the factors on λ where there are any, as `Relative` and `Scheduled` set them."""
    terms = applied.terms()
    factors = {f"train/penalty_factor{f'/{place}' if len(terms) > 1 else ''}": term.factor for place, term in enumerate(terms)}
    return {"train/penalty": applied.value()} | (factors if any(factor != 1 for factor in factors.values()) else {})


def _has_scaler(trainer: L.Trainer) -> bool:
    """Whether gradients are scaled, so that steps may be skipped: 16-mixed."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _scale_of(module: Trainee, stage: Stage, progress: Progress) -> float:
    return 1.0 if module.freeze_schedule is None else module.freeze_schedule.lr_scale(stage, progress)


def _is_logged(trainer: L.Trainer, step: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0


def _plain(optimizer: Any) -> Optimizer:
    """The torch optimizer inside Lightning's wrapper."""
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, Optimizer):
        raise TypeError(f"expected a torch optimizer, got {type(inner).__name__}")
    return inner
