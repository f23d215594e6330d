"""The LightningModule that trains every network with every loss, penalty and schedule."""

import contextlib
import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from typing_extensions import override

from seglab.callbacks.plateau import plateau_config
from seglab.callbacks.step_order import StepOrder, beginning
from seglab.checkpoints import check_resumable
from seglab.data.check import check_channels
from seglab.data.contents import Format
from seglab.evaluation import Evaluation
from seglab.freezing import FreezeSchedule
from seglab.given import check_kind
from seglab.losses.weighted_sum import check_value
from seglab.metrics import Scores
from seglab.networks import Stages, description, pretrained_parameters, stages
from seglab.networks.forward import classes, normalised, padded_forward
from seglab.networks.invariance import scale_free
from seglab.networks.modes import check_modes, modes_of, set_modes
from seglab.optimizers import AdamW
from seglab.regularizers import Regularizer, Weight
from seglab.regularizers.regularizer import check_regularizer
from seglab.regularizers.weight import kinds_of_parameters, transposed_weights
from seglab.sample import IGNORE, Batch
from seglab.schedulers import SchedulerFactory, Span, make_scheduler, named, rehearse
from seglab.stage import Progress
from seglab.windows import Windows, bands

log = logging.getLogger("seglab")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LABELLED = ("iou", "dice", "boundary_iou")
"""Scores that are logged for each class."""

ScoredSplit = Literal["train", "val", "test", "shift"]
"""Names of the evaluated splits. `shift` stands for one shifted test set after the other; each one replaces the scores
of the one before.
"""

_UPDATES = {"step": "optimizer steps", "epoch": "epochs"}


class SegmentationModule(L.LightningModule):
    """Trains and evaluates a segmentation network.

    **Settings.** Two modules are the same run if their `settings()` are equal. The settings of a subclass are the
    arguments of its `__init__`, each kept as an attribute of the same name:

        class Mixed(SegmentationModule):
            def __init__(self, network: nn.Module, loss: nn.Module, *, num_classes: int, alpha: float = 0.2) -> None:
                super().__init__(network, loss, num_classes=num_classes)
                self.alpha = alpha          # a setting
                self.seen = 0               # no setting: state of a run

    Args:
        network: any `nn.Module` from images (N,C,H,W) to logits (N,`num_classes`,H,W), or (N,1,H,W) for two classes. A
            network of segmentation-models-pytorch has the stages that schedules and logs use.
        loss: any `nn.Module` with `forward(logits (N,C,H,W), mask (N,H,W) int64) -> 0-dim Tensor`. If it has `terms`, a
            mapping from names to 0-dim tensors, these are logged too. If it has `follow(progress)`, this is called
            before each optimizer step.
        num_classes: number of classes, 2 or more.
        ignore_index: mask value that metrics ignore. Give the loss the same value.
        regularizer: a weight penalty. It is applied to gradients or weights, and is not part of the data loss.
        freeze: schedule of the stages' learning rates; None trains all stages at the optimizer's rate.
        batch_norm: "train": batch norms of training stages use the statistics of the batch and update their running
            statistics; "frozen": they use their initial statistics. Scales and shifts train in both cases.
        allow_double_decay: accept an optimizer with weight decay beside a penalty, which is refused otherwise.
        optimizer: makes an optimizer from parameter groups, one named group for each stage.
        scheduler: a class of `torch.optim.lr_scheduler`, `functools.partial` of a class with its arguments by name, or
            a function of the optimizer and the total number of updates. A class that decays over the whole training
            (PolynomialLR, CosineAnnealingLR, OneCycleLR) gets the total by name, unless you give it. A
            `ReduceLROnPlateau` is updated after each validation; it watches "val/loss" in the mode "min" and "val/miou"
            in the mode "max".
        scheduler_interval: unit of the scheduler's numbers: it is updated after each optimizer step ("step") or each
            epoch ("epoch").
        boundary_iou: score the boundaries of the classes too, see `Evaluation`.
        calibration_error: score the predicted probabilities too, see `Evaluation`.
        mean: mean of each image channel, on the scale [0, 1]; one value serves all channels.
        std: standard deviation of each image channel, on the same scale; one value serves all channels.

    Raises:
        ValueError: an argument is of another kind, such as a class in place of an object. The network is wrapped by
            `torch.compile`, or its `train()` and `eval()` do not reach all its modules, as after SMP's
            `freeze_encoder()`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        num_classes: int,
        ignore_index: int = IGNORE,
        regularizer: Regularizer | None = None,
        freeze: FreezeSchedule | None = None,
        batch_norm: Literal["train", "frozen"] = "train",
        allow_double_decay: bool = False,
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW(),
        scheduler: SchedulerFactory | None = None,
        scheduler_interval: Literal["step", "epoch"] = "step",
        boundary_iou: bool = False,
        calibration_error: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if hasattr(network, "_orig_mod"):
            raise ValueError("the network is wrapped by torch.compile, which hides its stages: call network.compile() instead")
        _check_module("network", network)
        _check_module("loss", loss)
        if regularizer is not None:
            check_regularizer(regularizer)
        if freeze is not None:
            check_kind("freeze", freeze, FreezeSchedule)
        _check_optimizer(optimizer)
        check_modes(network)
        self.network = network
        self.loss = loss
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.regularizer = regularizer
        self.freeze_schedule = freeze
        self.batch_norm = batch_norm
        self.allow_double_decay = allow_double_decay
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.stages: Stages = stages(network)
        self.frozen_by_schedule: set[str] = set()
        """Names of the parameters that a schedule has frozen. Parameters that were frozen by hand are not included."""
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self._image_dtype: torch.dtype | None = None
        """Data type of the images on which the module has trained."""
        self.logs_rows_only = False
        """Log training losses only where a row of the log follows. This is for trainers in which nothing else reads the
        losses.
        """
        self._modes: dict[nn.Module, bool] = {}
        """Modes of all modules before an evaluation."""
        self._validated: ScoredSplit = "val"
        """The split that a validation evaluates."""
        self.train_evaluation = Evaluation(num_classes, ignore_index)
        self.val_evaluation = Evaluation(num_classes, ignore_index, boundary_iou, calibration_error)
        self.test_evaluation = Evaluation(num_classes, ignore_index, boundary_iou, calibration_error)
        self.shift_evaluation = Evaluation(num_classes, ignore_index, boundary_iou, calibration_error)

    @override
    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Build a module from the arguments of its `__init__`, given by name, and load a checkpoint's weights into it.

        Raises:
            ValueError: arguments are missing. A checkpoint holds plain data only, so that it cannot name a network or a
                loss by itself.
        """
        try:
            return super().load_from_checkpoint(checkpoint_path, map_location, hparams_file, strict, weights_only, **kwargs)
        except TypeError as error:
            raise ValueError(
                f"{checkpoint_path} holds no arguments of {cls.__name__} ({error}): seglab.load(path) returns the trained network; to get a "
                f"module, give its arguments by name, as in {cls.__name__}.load_from_checkpoint(path, network=…, loss=…, num_classes=…)"
            ) from error

    def settings(self) -> dict[str, object]:
        """Return the module's settings by name.

        These settings define a run together with network, loss, regularizer, schedules and optimizer.

        The settings are `ignore_index`, `mean`, `std`, `batch_norm` and each argument that a subclass adds in its own
        `__init__`. All other attributes are state or follow from settings. Permissions (`allow_double_decay`) and
        additional scores (`boundary_iou`, `calibration_error`) are not settings, because they do not change the
        training.

        Raises:
            ValueError: a subclass does not keep an argument of its `__init__` as an attribute of the same name.
        """
        return {
            "ignore_index": self.ignore_index,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "batch_norm": self.batch_norm,
            **{name: self._own_setting(name) for name in _own_arguments(type(self))},
        }

    def check_images(self, images: Format) -> None:
        """Raise a ValueError if the network or the normalisation expects another number of channels.

        A subclass may convert the images.
        """
        if type(self) is SegmentationModule:
            config = description(self.network).get("config", {})
            check_channels(images, config.get("in_channels"), self.mean.flatten().tolist(), self.std.flatten().tolist())

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raise a ValueError if the data have another number of classes than this module."""
        if len(class_names) != self.num_classes:
            listed = ", ".join(class_names[:4]) + (", …" if len(class_names) > 4 else "")
            raise ValueError(
                f"the module has num_classes={self.num_classes}, and the data have {len(class_names)} classes ({listed}): build "
                f"network and module with num_classes={len(class_names)}"
            )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N,num_classes,H,W) of images (N,C,H,W) of any size, with the data set's own range of values.

        Raises:
            ValueError: the network gives another number of logits per pixel.
        """
        logits = padded_forward(self.network, self.normalise(image))
        if logits.shape[1] != self.num_classes and (logits.shape[1], self.num_classes) != (1, 2):
            raise ValueError(
                f"the network gives {logits.shape[1]} logits per pixel for {self.num_classes} classes: build it with num_classes={self.num_classes}"
            )
        return logits

    def normalise(self, image: Tensor) -> Tensor:
        """Convert images (N,C,H,W), uint8, uint16 or float32 in [0, 1], to float32 of about mean 0 and variance 1."""
        return normalised(image, self.mean, self.std)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._image_dtype = batch.image.dtype
        loss: Tensor = self.loss(self(batch.image), batch.mask.long())
        check_value(type(self.loss).__name__, loss)
        if not self.logs_rows_only or self._row_follows():
            self.log("train/loss", loss.detach(), prog_bar=True)
            self.log_dict({f"train/loss/{name}": term for name, term in self.terms().items()})
        return loss

    def terms(self) -> dict[str, Tensor]:
        """Return the unweighted parts of the last loss by name; empty for a loss without `terms`."""
        return dict(getattr(self.loss, "terms", {}))

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.evaluate(batch, self._validated)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return classes(self.full_logits(batch))

    def evaluate(self, batch: Batch, split: ScoredSplit) -> Tensor:
        """Add a batch to the scores of a split, at the size of its masks; return the predicted classes (N,H',W') int64.

        The logged loss is computed as in training, at the size of the images; masks are resized to it by nearest
        neighbour.
        """
        seen = self._at_own_size(batch.image) if _has_one_size(batch) else self._each_alone(batch)
        prediction = self.evaluation(split).update(_resized(seen, batch.mask.shape[-2:]), batch)
        if split in ("val", "test"):
            self._log_losses(split, self.loss(seen, _labels_at(batch.mask, seen.shape[-2:])), images=len(batch.name))
        return prediction

    def full_logits(self, batch: Batch) -> Tensor:
        """Return the logits (N,C,H',W') at the size of the masks, for each image without the padding of its batch."""
        seen = self._at_own_size(batch.image) if _has_one_size(batch) else self._each_alone(batch)
        return _resized(seen, batch.mask.shape[-2:])

    def _at_own_size(self, image: Tensor) -> Tensor:
        """Return the logits (N,C,H,W) of images (N,C,H,W), by the windows of the data module if it has windows."""
        windows: Windows | None = getattr(self._data(), "windows", None)
        return self(image) if windows is None else torch.cat(list(bands(self, image, windows)), dim=-2)

    def _each_alone(self, batch: Batch) -> Tensor:
        """Return the logits (N,C,H',W') at the size of the masks, image by image, so that padding has no influence."""
        target, full = batch.mask.shape[-2:], []
        for image, (height, width), (rows, columns) in zip(batch.image, batch.image_size.tolist(), batch.mask_size.tolist(), strict=True):
            own = _resized(self._at_own_size(image[None, :, :height, :width]), (rows, columns))
            full.append(F.pad(own, (0, target[1] - columns, 0, target[0] - rows)))
        return torch.cat(full)

    def on_validation_model_eval(self) -> None:
        """Put all modules into evaluation mode. `on_validation_model_train` restores their modes."""
        self._modes = modes_of(self)
        self.eval()

    def on_validation_model_train(self) -> None:
        """Restore the modes by `train()`.

        Lightning would set the attribute `training`, and so skip a `train()` of the network's own.
        """
        set_modes(self._modes)
        self._modes = {}

    on_test_model_eval = on_validation_model_eval
    on_test_model_train = on_validation_model_train

    def on_validation_epoch_start(self) -> None:
        self._start(self._validated)

    def on_test_epoch_start(self) -> None:
        self._start("test")

    def on_validation_epoch_end(self) -> None:
        if self._validated != "shift":  # these are many scores of one moment, and no curve: `result.json` has them
            self._log_scores(self._validated)

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    @contextlib.contextmanager
    def validating(self, split: ScoredSplit) -> Iterator[None]:
        """Count validations in this context as evaluations of `split`.

        For example, this scores a trained network on its training images.
        """
        before, self._validated = self._validated, split
        try:
            yield
        finally:
            self._validated = before

    def scores(self, split: ScoredSplit) -> Scores:
        """Return the scores of the last evaluation of `split`, over all its images and all ranks."""
        return self.evaluation(split).scores()

    def evaluation(self, split: ScoredSplit) -> Evaluation:
        """Return the object that counts the predictions on `split`."""
        return {
            "train": self.train_evaluation,
            "val": self.val_evaluation,
            "test": self.test_evaluation,
            "shift": self.shift_evaluation,
        }[split]

    def metric_names(self, class_names: Sequence[str]) -> list[str]:
        """Return all names that training and validation log by Lightning's `log`.

        A callback or scheduler can monitor these names.

        The list stands before the training. Terms of a loss of your own are in it if its `terms` are known before the
        first batch.

        Args:
            class_names: names of the classes of the data.
        """
        means, per_class = self.val_evaluation.score_names()
        terms = [f"{split}/loss{name}" for split in ("train", "val") for name in ("", *(f"/{term}" for term in self._term_names()))]
        labelled = [f"val/{score}/{label}" for score in LABELLED if score in per_class for label in class_names]
        return [*terms, *(f"val/{name}" for name in means), *labelled]

    def class_names(self) -> tuple[str, ...]:
        """Return the class names of the trainer's data module; the class numbers as text if there is none."""
        return tuple(getattr(self._data(), "class_names", None) or map(str, range(self.num_classes)))

    def weights(self) -> dict[str, Weight]:
        """Return all parameters that can train, by name.

        Penalties act on those of kind "weight", unless `Where` chooses others.
        """
        parameters = dict(self.network.named_parameters())
        pretrained = pretrained_parameters(self.network)
        free = scale_free(self.network)
        kinds, transposed = kinds_of_parameters(self.network), transposed_weights(self.network)
        return {
            name: Weight(
                parameters[name],
                stage.name,
                name in pretrained,
                kinds[name],
                free[name],
                transposed=name in transposed,
                penalized=kinds[name] == "weight",
            )
            for stage, names in self.stages.stages.items()
            for name in names
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one named parameter group for each stage, and one for the loss if it has parameters.

        Every stage has its group from the first step on, so that a schedule changes learning rates and never the
        optimizer.

        Raises:
            ValueError: a parameter belongs to neither network nor loss.
        """
        parameters = dict(self.named_parameters())
        groups = [
            {"params": [parameters[f"network.{name}"] for name in names], "name": stage.name}
            for stage, names in self.stages.stages.items()
            if names
        ]
        if own := list(self.loss.parameters()):
            groups.append({"params": own, "name": "loss"})
        grouped = {id(parameter) for group in groups for parameter in group["params"]}
        lost = [name for name, parameter in parameters.items() if id(parameter) not in grouped and not self._is_unreachable(name)]
        if lost:
            raise ValueError(
                f"{', '.join(lost[:3])}: parameters outside of network and loss would never train: make them part of one of the two"
            )
        return groups

    def make_optimizer(self) -> Optimizer:
        """Make the optimizer for `parameter_groups`.

        Raises:
            ValueError: `optimizer` returns something else.
        """
        made = self.optimizer(self.parameter_groups())
        check_kind("what `optimizer` returns", made, Optimizer)
        return made

    def scheduler_span(self, start: Progress) -> Span:
        """Return how often the scheduler is updated in a training as long as `start` says."""
        return Span(start.steps, 1 if self.scheduler_interval == "step" else start.steps_per_epoch)

    def configure_optimizers(self) -> Any:
        """Make the optimizer for `parameter_groups`, and the scheduler for the trainer's planned number of steps.

        Raises:
            ValueError: the scheduler cannot be made or fails within the training, or a checkpoint cannot hold its state
                or the optimizer's.
        """
        optimizer = self.make_optimizer()
        check_resumable(optimizer)
        if self.scheduler is None:
            return optimizer
        span = self.scheduler_span(beginning(self.trainer))
        scheduler = make_scheduler(self.scheduler, optimizer, span)
        check_resumable(scheduler)
        name = named(self.scheduler, scheduler)
        if isinstance(scheduler, ReduceLROnPlateau):
            config = plateau_config(self.trainer, scheduler, self.metric_names(self.class_names()))
            course = f"{optimizer.param_groups[0]['lr']:.3g}, reduced by {name} after a validation, as {config['monitor']} says"
        else:
            twin = self.optimizer([dict(group) for group in self.parameter_groups()])
            rates = rehearse(make_scheduler(self.scheduler, twin, span), twin, span)
            course = f"{rates}, by {name} after each of the {span.updates} {_UPDATES[self.scheduler_interval]}"
            config = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if self.trainer.is_global_zero:
            log.info("learning rate: %s", course)
        return {"optimizer": optimizer, "lr_scheduler": config}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler, unless it is a `ReduceLROnPlateau`, which `StepOrder` steps after a validation."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def configure_callbacks(self) -> list[Callback]:
        """Return the `StepOrder`, so that penalty and schedule are applied under every trainer."""
        return [StepOrder()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save plain data from which `seglab.load` builds the network again."""
        own = next((name for name in ("forward", "normalise") if getattr(type(self), name) is not getattr(SegmentationModule, name)), None)
        palette, size = (getattr(self._data(), name, None) for name in ("palette", "resized_to"))
        checkpoint["seglab"] = {
            "network": description(self.network),
            "class_names": list(self.class_names()),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "palette": None if palette is None else palette.tolist(),
            "size": None if size is None else list(size),
            "image_dtype": None if self._image_dtype is None else str(self._image_dtype).removeprefix("torch."),
            "own_method": None if own is None else f"{type(self).__module__}.{type(self).__qualname__}.{own}",
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Under a trainer of 64-true, convert the module before weights are loaded; Lightning does it after."""
        with contextlib.suppress(RuntimeError):  # this module is attached to no trainer
            if self.trainer.precision == "64-true":
                self.double()

    def _term_names(self) -> list[str]:
        """Return the names of the loss's terms, found by a forward pass of a copy on logits of 0.

        If an own loss refuses these logits, return the names that the loss has now.
        """
        loss = copy.deepcopy(self.loss)
        mask = torch.arange(8 * 8).view(1, 8, 8).expand(2, 8, 8) % self.num_classes
        with torch.no_grad(), torch.random.fork_rng(devices=[]), contextlib.suppress(Exception):
            loss(torch.zeros(2, self.num_classes, 8, 8), mask)
        return list(getattr(loss, "terms", {}))

    def _data(self) -> object:
        """Return the trainer's data module; None if there is none."""
        try:
            return getattr(self.trainer, "datamodule", None)
        except RuntimeError:  # this module is attached to no trainer
            return None

    def _own_setting(self, name: str) -> object:
        if not hasattr(self, name):
            raise ValueError(
                f"{type(self).__name__} does not keep the argument {name!r} of its __init__, so that it would not count as a setting of a run: "
                f"write self.{name} = {name} in __init__"
            )
        return getattr(self, name)

    def _is_unreachable(self, name: str) -> bool:
        return name.startswith("network.") and name.removeprefix("network.") in self.stages.unreachable

    def _row_follows(self) -> bool:
        """Return whether the log gets a row after this step, or the epoch ends.

        A scheduler may watch the loss after an epoch.
        """
        trainer = self.trainer
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return trainer.is_last_batch or trainer.should_stop or (every > 0 and (trainer.global_step + 1) % every == 0)

    def _start(self, split: ScoredSplit) -> None:
        if self.trainer.world_size > 1:  # each rank has its own batch norm statistics; all ranks evaluate with the first rank's statistics
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)
        self.evaluation(split).reset()

    def _log_losses(self, split: ScoredSplit, loss: Tensor, images: int) -> None:
        values = {"loss": loss} | {f"loss/{name}": term for name, term in self.terms().items()}
        named = {f"{split}/{name}": value for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=images, sync_dist=True)

    def _log_scores(self, split: ScoredSplit) -> None:
        scores = self.scores(split)
        means: Mapping[str, Tensor] = scores.mean
        self.log_dict({f"{split}/{name}": value for name, value in means.items()}, prog_bar=False)
        labels = self.class_names()
        for score in LABELLED:
            values = scores.per_class.get(score, ())
            self.log_dict({f"{split}/{score}/{label}": value for label, value in zip(labels, values, strict=False)})


def _check_module(name: str, given: object) -> None:
    """Check that an argument is an `nn.Module` whose `__init__` has called the one of `nn.Module`.

    Raises:
        ValueError: it is not.
    """
    check_kind(name, given, nn.Module)
    if "_modules" not in vars(given):
        raise ValueError(f"{name}: {type(given).__name__} is not initialised: call super().__init__() first in its __init__")


def _check_optimizer(given: object) -> None:
    """Check that the maker of the optimizer is no class of another kind, such as `AdamW` in place of `AdamW()`.

    Raises:
        ValueError: it is.
    """
    if isinstance(given, type) and not issubclass(given, Optimizer):
        raise ValueError(f"optimizer is the class {given.__name__}; give an object of it, {given.__name__}(...)")


def _own_arguments(kind: type[SegmentationModule]) -> list[str]:
    """Return the names of arguments in `kind.__init__` and its bases' that `SegmentationModule.__init__` lacks."""
    known = inspect.signature(SegmentationModule.__init__).parameters
    own: dict[str, None] = {}
    for base in kind.__mro__[: kind.__mro__.index(SegmentationModule)]:
        if "__init__" in vars(base):
            for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
                if name not in known and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    own[name] = None
    return list(own)


def _has_one_size(batch: Batch) -> bool:
    """Return whether a batch contains no padding."""
    images, masks, target = batch.image_size.tolist(), batch.mask_size.tolist(), list(batch.mask.shape[-2:])
    return all(size == images[0] for size in images) and all(size == target for size in masks)


def _labels_at(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks (N,H',W') uint8 to (N,H,W) int64; each pixel gets the label nearest to its centre."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask.long()
    return F.interpolate(mask.float().unsqueeze(1), tuple(size), mode="nearest-exact").squeeze(1).long()


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    return logits if tuple(logits.shape[-2:]) == tuple(size) else F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
