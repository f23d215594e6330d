"""Try a training before it begins: one optimizer step and one evaluation, on images of the data.

Nothing is written or kept.
"""

import contextlib
import gc
import logging
import random
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from seglab.callbacks import NonFiniteLossError
from seglab.checkpoints import CheckpointRehearsal
from seglab.data import SegmentationDataModule
from seglab.interruption import Interruption
from seglab.module import SegmentationModule
from seglab.running.own_module import check_own_module
from seglab.running.process import run_settings
from seglab.running.remedies import translated
from seglab.sample import Batch
from seglab.stage import Progress

FEW = 2
"""Number of training images that are enough: the smallest number that is of one kind with all larger ones."""


class TrialImages(NamedTuple):
    """The images of a trial."""

    data: SegmentationDataModule
    train: Batch
    """The first batch of a training."""
    few: int
    """Number of images of `train` that are enough: 1 if batch norms see one image at a time, else `FEW`."""
    val: Batch | None
    """One image of the evaluation, cut to the size of a window if the data have windows; None without an evaluation."""


class TrialSettings(NamedTuple):
    """The settings of a training on which its first step depends."""

    start: Progress
    """Progress at the beginning of the training, which holds its length."""
    precision: Any = "32-true"
    gradient_clip: float | None = None
    device: torch.device = torch.device("cpu")


class NotFiniteError(ValueError):
    """The loss, a logit, or a weight after a step, is NaN or infinite."""


def trial_images(data: SegmentationDataModule, seed: int, batch_norm_parts: int = 1, *, evaluates: bool = True) -> TrialImages:
    """Return the first batch of a training under `seed`, and the first validation image. Only these images are read.

    Args:
        data: the data of the training.
        seed: the seed of the training.
        batch_norm_parts: number of parts of a batch over which batch norm computes separate statistics.
        evaluates: whether the training has a validation.

    Raises:
        ValueError: the batch cannot be made, for example by its augmentation.
        Exception: the user's code fails; a note says when.
    """
    data = data.with_seed(seed)
    data.cache, data.balanced_images = False, 0.0  # with them, all images would be read
    try:
        loader = data.train_dataloader()
        keys = list(islice(loader.sampler, loader.sampler.batch_size))
        train: Batch = loader.collate_fn([loader.dataset[key] for key in keys])
        validation = data.val_dataloader()
        val: Batch | None = validation.collate_fn([validation.dataset[0]]) if evaluates and len(validation) > 0 else None
    except Exception as error:  # noqa: BLE001 - whatever an augmentation or a data set raises
        found = translated(error, otherwise="correct the augmentation, the crop or the data set")
        found.add_note("the first batch")
        raise found from found.__cause__
    few = max(1, min(FEW, len(train.name) // batch_norm_parts))
    return TrialImages(data, train, few, None if val is None else _one_window(val, data))


def try_training(build: Callable[[], SegmentationModule], images: TrialImages, settings: TrialSettings, interruption: Interruption) -> None:
    """Train one step on a few images, with penalty and update, then evaluate one image. Random states stay as they are.

    If a number is not finite, the whole batch is tried, because a few images may lack all labels.

    Args:
        build: makes the module. It is called again for each try, because a step changes a module.
        images: the images.
        settings: the settings of the training.
        interruption: its signal handlers stay in place.

    Raises:
        NotFiniteError: a number is NaN or infinite.
        ValueError: the training would fail; the message says when, why and what to do.
        Exception: the user's code fails; a note says when.
    """
    with _alone(settings.device) as folder:
        for number in sorted({images.few, len(images.train.name)}):
            watch = _Watch(interruption)
            module = build()
            module.check_classes(images.data.class_names)
            fault = _fault(module, watch, images._replace(train=_first(images.train, number)), _trainer(settings, watch, folder))
            if not isinstance(fault, NotFiniteError):
                break
    if fault is not None:
        diverged = isinstance(fault, NotFiniteError | NonFiniteLossError)
        found = NotFiniteError(str(fault)) if diverged else translated(fault, watch.shapes)
        if watch.where:
            found.add_note(watch.where)
        raise found


def _fault(module: SegmentationModule, watch: "_Watch", images: TrialImages, trainer: L.Trainer) -> Exception | None:
    """Train `module` one step on the images, and evaluate. Return the error with which this ends, or None."""
    hook = module.network.register_forward_hook(watch.see)
    trainer.datamodule = images.data  # type: ignore[attr-defined]
    steps = -(-trainer.max_steps // (trainer.max_epochs or 1))
    train: DataLoader[Batch] = DataLoader([images.train] * steps, batch_size=None)  # type: ignore[arg-type]
    val: DataLoader[Batch] | None = None if images.val is None else DataLoader([images.val], batch_size=None)  # type: ignore[arg-type]
    try:
        trainer.fit(module, train, val)
        watch.where = ""
        if type(module) is not SegmentationModule:
            check_own_module(trainer, module, images.val)
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "trial.ckpt")
    except Exception as error:  # noqa: BLE001 - whatever a network, a loss or a penalty raises
        traceback.clear_frames(error.__traceback__)  # which hold the module
        return error
    finally:
        hook.remove()
    return None


def _trainer(settings: TrialSettings, watch: "_Watch", folder: str) -> L.Trainer:
    """Return a trainer that plans the whole training and keeps nothing. `watch` ends it after a step."""
    start, device = settings.start, settings.device
    return L.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1 if device.index is None else [device.index],
        plugins=[LightningEnvironment(), CheckpointRehearsal()],
        precision=settings.precision,
        max_epochs=-(-start.steps // start.steps_per_epoch),
        max_steps=start.steps,
        gradient_clip_val=settings.gradient_clip,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        logger=DummyLogger(),  # for callbacks that need one, such as a LearningRateMonitor
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


class _Watch(Callback):
    """Ends a training after one step and one evaluation, and knows what was computed last."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption
        self.where = ""
        """Current computation, as text; empty before the first batch."""
        self._image: tuple[int, ...] = ()
        self._logits: tuple[int, ...] | None = None
        """Shapes of the last batch, and of what the network gave for it."""

    @property
    def shapes(self) -> str | None:
        """Remedy for the shape of the logits; None if it is as expected."""
        if self._logits is None or len(self._logits) != 4 or len(self._image) != 4:  # or before the first batch
            return None
        (rows, columns), (height, width) = self._logits[-2:], self._image[-2:]
        if rows >= height and columns >= width:
            return None
        return (
            f"the network gives logits of {rows}×{columns} for images of {height}×{width}: resize the logits in its forward, as by "
            "torch.nn.functional.interpolate"
        )

    def see(self, network: nn.Module, inputs: Any, output: object) -> None:
        """Remember the shape of an output of the network."""
        self._logits = tuple(output.shape) if isinstance(output, Tensor) else None

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.listen_again()  # Lightning has set its own handlers

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self._begin("training on", batch.image)

    @override
    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        if not _finite([loss]):
            raise NotFiniteError(f"the loss is {float(loss)}; expected a finite number: correct the loss (`seglab check` tries it)")

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if "loss" not in (outputs or {}):
            raise ValueError(
                f"{type(pl_module).__name__}.training_step returns no loss: return that of super().training_step(batch, batch_idx), and leave the "
                "update to Lightning (automatic_optimization)"
            )
        if not _finite(parameter for parameter in pl_module.parameters() if parameter.requires_grad):
            raise NotFiniteError(
                "weights are NaN or infinite after one step, so the gradient or the update was: correct the loss (`seglab check` tries it), "
                "the penalty or the optimizer"
            )
        trainer.should_stop = True

    @override
    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._begin("evaluating", batch.image)

    def _begin(self, what: str, image: Tensor) -> None:
        images, *shape = self._image = tuple(image.shape)
        self._logits = None
        self.where = f"{what} {images} image{'s' * (images > 1)} of {'×'.join(map(str, shape))}"


@contextlib.contextmanager
def _alone(device: torch.device) -> Iterator[str]:
    """Hide logs and warnings.

    At the end, restore random states and settings of the process. Yield a folder that is then deleted.
    """
    python, drawn, hidden = random.getstate(), np.random.get_state(), logging.root.manager.disable  # noqa: NPY002 - a user may draw from it
    try:
        with (
            tempfile.TemporaryDirectory(prefix="seglab-") as folder,
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            run_settings(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            yield folder
    finally:
        random.setstate(python)
        np.random.set_state(drawn)  # noqa: NPY002
        logging.disable(hidden)
        gc.collect()  # trainer and module hold each other, and the module may be large
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _first(batch: Batch, images: int) -> Batch:
    image, mask, name, image_size, mask_size = (part[:images] for part in batch)
    return Batch(image, mask, name, image_size, mask_size)  # type: ignore[arg-type]


def _one_window(val: Batch, data: SegmentationDataModule) -> Batch:
    """Cut one image (1,C,H,W) and its mask to the size of a window, the most that the network sees at once."""
    if data.windows is None:
        return val
    rows, columns = data.windows.size
    image, mask = val.image[..., :rows, :columns], val.mask[..., :rows, :columns]
    return val._replace(image=image, mask=mask, image_size=torch.tensor([image.shape[-2:]]), mask_size=torch.tensor([mask.shape[-2:]]))


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
