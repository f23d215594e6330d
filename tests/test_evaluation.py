"""Losses and logits of a module, in training and in evaluation."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from seglab.callbacks import NonFiniteLossError
from seglab.data import SegmentationDataModule, Shapes
from seglab.data.loading.pipeline import resize_mask
from seglab.evaluation import Evaluation
from seglab.losses import CrossEntropy, Dice, WeightedSum
from seglab.metrics import BoundaryIoU, CalibrationError
from seglab.module import SegmentationModule
from seglab.networks.forward import classes
from seglab.sample import IGNORE, Batch
from seglab.stage import Progress
from tests.nets import batches
from tests.trainers import quiet_trainer


class Logged(L.Callback):
    """Keeps what was logged at the end of each epoch, and what the weights of the loss were at each step."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.weights: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss: Any = pl_module.loss
        self.weights.append(loss.now["dice"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.values = {name: float(value) for name, value in trainer.callback_metrics.items()}


def data(shapes: int = 3, size: int = 32) -> SegmentationDataModule:
    return SegmentationDataModule(
        Shapes(num_train=12, num_val=4, num_test=4, image_size=size, num_shapes=shapes), batch_size=4, num_workers=0
    )


def module(logits: int, loss: nn.Module, **settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(nn.Conv2d(3, logits, 3, padding=1), loss, num_classes=max(2, logits), **settings)


def test_the_terms_of_a_sum_are_logged_and_their_weights_follow_the_progress() -> None:
    loss = WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": lambda progress: progress.fraction})
    logged = Logged()
    trainer = quiet_trainer(max_epochs=4, callbacks=[logged], limit_val_batches=1.0)
    trainer.fit(module(4, loss), datamodule=data())
    assert logged.weights == [pytest.approx(step / 12) for step in range(12)]
    for split in ("train", "val"):
        assert {f"{split}/loss", f"{split}/loss/ce", f"{split}/loss/dice"} <= set(logged.values)
    assert logged.values["val/loss"] == pytest.approx(logged.values["val/loss/ce"] + 11 / 12 * logged.values["val/loss/dice"])


def test_weights_follow_optimizer_steps_not_batches() -> None:
    loss = WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": lambda progress: float(progress.step)})
    logged = Logged()
    quiet_trainer(max_epochs=2, accumulate_grad_batches=2, callbacks=[logged]).fit(module(4, loss), datamodule=data())
    assert logged.weights == [0, 0, 1, 2, 2, 3], "three batches of an epoch are two steps"


class Bad(nn.Module):
    def __init__(self, value: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.value = value

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.value(logits)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (lambda logits: logits.mean((1, 2, 3)), r"Bad returns \(4,\) torch.float32; expected a 0-dim floating tensor"),
        (lambda logits: logits.mean((1, 2, 3))[:1], r"Bad returns \(1,\) torch.float32"),
        (lambda logits: logits.argmax(1).sum(), r"Bad returns \(\) torch.int64"),
    ],
)
def test_a_loss_that_is_not_one_number_is_told_so(value: Callable[[Tensor], Tensor], shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        quiet_trainer().fit(module(4, Bad(value)), datamodule=data())


def test_a_network_with_another_number_of_classes_is_told_so() -> None:
    wrong = SegmentationModule(nn.Conv2d(3, 5, 1), CrossEntropy(), num_classes=4)
    with pytest.raises(ValueError, match="gives 5 logits per pixel for 4 classes: build it with num_classes=4"):
        quiet_trainer().fit(wrong, datamodule=data())
    with pytest.raises(ValueError, match="gives 1 logits per pixel for 4 classes"):
        SegmentationModule(nn.Conv2d(3, 1, 1), CrossEntropy(), num_classes=4)(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("loss", [CrossEntropy, Dice])
def test_one_logit_trains_and_scores_as_two(loss: type[nn.Module]) -> None:
    """The two logits (0, z) of the same weights."""

    class Two(nn.Module):
        def __init__(self, one: nn.Module) -> None:
            super().__init__()
            self.one = one

        def forward(self, image: Tensor) -> Tensor:
            z: Tensor = self.one(image)
            return torch.cat([torch.zeros_like(z), z], 1)

    found = []
    for wrapped in (False, True):
        this = module(1, loss(), boundary_iou=True, calibration_error=True)
        if wrapped:
            torch.manual_seed(0)
            this = SegmentationModule(Two(nn.Conv2d(3, 1, 3, padding=1)), loss(), num_classes=2, boundary_iou=True, calibration_error=True)
        trainer = quiet_trainer(max_epochs=3)
        trainer.fit(this, datamodule=data(shapes=1))
        trainer.test(this, datamodule=data(shapes=1), verbose=False)
        found.append({name: float(value) for name, value in this.scores("test").mean.items()})
    assert found[0] == pytest.approx(found[1], abs=1e-6, nan_ok=True)
    assert found[0]["pixel_accuracy"] > 0


def test_classes_of_one_logit() -> None:
    assert classes(torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)).tolist() == [[[0, 0, 1]]]


@pytest.mark.parametrize("logits", [1, 3])
def test_nan_logits_are_never_counted(logits: int) -> None:
    counted = Evaluation(max(2, logits), IGNORE)
    batch = batches(1)[0]
    batch = batch._replace(mask=batch.mask.clamp(max=1), name=("a", "b", "c", "d"))
    given = torch.randn(4, logits, 8, 8)
    given[2, 0, 3, 3] = torch.nan
    with pytest.raises(NonFiniteLossError, match="logits are NaN, first in c"):
        counted.update(given, batch)
    assert counted.names == []
    assert counted.confusion.matrix.sum() == 0


def test_extra_scores_are_those_of_the_metrics() -> None:
    this = module(4, CrossEntropy(), boundary_iou=True, calibration_error=True)
    boundary, calibration = BoundaryIoU(4), CalibrationError()
    quiet_trainer().test(this, datamodule=data(), verbose=False)
    with torch.no_grad():
        for batch in data().test_dataloader():
            logits = this.full_logits(batch)
            boundary.update(classes(logits), batch.mask)
            calibration.update(logits, batch.mask)
    scores = this.scores("test")
    torch.testing.assert_close(scores.per_class["boundary_iou"], boundary.compute(), equal_nan=True)
    assert scores.mean["boundary_iou"] == boundary.compute().nanmean()
    assert scores.mean["calibration_error"] == calibration.compute()
    plain = module(4, CrossEntropy())
    quiet_trainer().test(plain, datamodule=data(), verbose=False)
    assert set(scores.mean) - set(plain.scores("test").mean) == {"boundary_iou", "calibration_error"}


def test_the_loss_of_an_evaluation_is_that_of_the_training() -> None:
    """Masks of twice the size of the images: the loss sees each label that is nearest to a pixel's centre."""
    seen: list[Tensor] = []

    class Spy(CrossEntropy):
        def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
            seen.append(mask)
            return super().forward(logits, mask)

    this = module(4, Spy())
    half = SegmentationDataModule(
        Shapes(num_train=4, num_val=4, num_test=4, image_size=32, num_shapes=3),
        batch_size=4,
        size=(16, 16),
        augmentation=None,
        num_workers=0,
    )
    (evaluated,) = half.val_dataloader()
    assert evaluated.mask.shape == (4, 32, 32)
    quiet_trainer(limit_val_batches=1.0).validate(this, datamodule=half, verbose=False)
    assert seen[0].shape == (4, 16, 16)
    for labels, whole in zip(seen[0], evaluated.mask, strict=True):
        assert torch.equal(labels, torch.from_numpy(resize_mask(whole.numpy(), (16, 16))).long())


def test_progress_of_a_loss_outside_of_a_training_is_the_beginning() -> None:
    loss = WeightedSum({"ce": CrossEntropy()}, {"ce": lambda progress: 1.0 + progress.fraction})
    assert loss.now == {"ce": 1.0}
    loss.follow(Progress(5, 10, 5))
    assert loss.now == {"ce": 1.5}


def test_the_names_of_a_batch_are_kept() -> None:
    batch: Batch = batches(1)[0]
    counted = Evaluation(4, IGNORE)
    counted.update(torch.randn(4, 4, 8, 8), batch)
    assert counted.matrices()[0] == list(batch.name)
    assert counted.matrices()[1].sum() == 4 * 64
