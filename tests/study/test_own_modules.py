"""Own modules that override methods of Lightning: what would make a run wrong, or fail at its end, is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from torch import Tensor

from seglab import L2, CrossEntropy, SegmentationModule
from seglab.interruption import Interruption
from seglab.running.trial import TrialSettings, trial_images, try_training
from seglab.sample import Batch
from seglab.stage import Progress
from tests.study.test_preflight import data_of
from tests.study.tiny_experiment import Small


class Loses(SegmentationModule):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        super().training_step(batch, batch_idx)
        return None  # type: ignore[return-value]


class Manual(SegmentationModule):
    automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.manual_backward(super().training_step(batch, batch_idx))
        return None  # type: ignore[return-value]


class OwnOptimizer(SegmentationModule):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class OwnRate(SegmentationModule):
    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameter_groups(), lr=0.1, weight_decay=0.0)


class OwnCallbacks(SegmentationModule):
    def configure_callbacks(self) -> list[Callback]:
        return [LearningRateMonitor()]


class OwnValidation(SegmentationModule):
    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        value: Tensor = self.loss(self(batch.image), batch.mask.long())
        self.log("val/mine", value)
        return value


class OwnTest(SegmentationModule):
    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.full_logits(batch)


class Keeps(SegmentationModule):
    def on_validation_epoch_start(self) -> None:
        pass


class OwnCheckpoint(SegmentationModule):
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = 1


class Adds(SegmentationModule):
    """Extends each method, as it should."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return {"loss": super().training_step(batch, batch_idx), "mine": 1}

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.log("val/mine", 1.0)
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().test_step(batch, batch_idx)

    def configure_callbacks(self) -> list[Callback]:
        return [*super().configure_callbacks(), LearningRateMonitor()]

    def configure_optimizers(self) -> Any:
        found: Any = super().configure_optimizers()
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["mine"] = 1

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()


REFUSED: Mapping[type[SegmentationModule], str] = {
    Loses: "Loses.training_step returns no loss",
    Manual: "Manual.training_step returns no loss",
    OwnOptimizer: "OwnOptimizer.configure_optimizers trains with another optimizer than the one that the record names",
    OwnRate: "OwnRate.configure_optimizers trains with another optimizer than the one that the record names",
    OwnCallbacks: "OwnCallbacks.configure_callbacks leaves out the callback that applies penalty and schedule",
    OwnValidation: "OwnValidation.validation_step leaves the images out of the scores",
    OwnTest: "OwnTest.test_step leaves the images out of the scores",
    Keeps: "Keeps.on_validation_epoch_start leaves the images of the last validation in the scores",
    OwnCheckpoint: r"on_save_checkpoint lacks super\(\).on_save_checkpoint",
}


def tried(kind: type[SegmentationModule]) -> None:
    data = data_of(32)
    classes = data.num_classes

    def build() -> SegmentationModule:
        return kind(Small(classes, 0.1), CrossEntropy(), num_classes=classes, regularizer=L2(0.1))

    try_training(build, trial_images(data, 0), TrialSettings(Progress(0, 10, 1)), Interruption())


@pytest.mark.parametrize("kind", list(REFUSED), ids=lambda kind: kind.__name__)
def test_what_a_method_leaves_out_is_named(kind: type[SegmentationModule]) -> None:
    with pytest.raises(ValueError, match=REFUSED[kind]):
        tried(kind)


def test_methods_that_call_super_pass() -> None:
    tried(Adds)
