"""One run of `short_experiment.py` by hand."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import PolynomialLR

from seglab import SegmentationDataModule, unet
from seglab.metrics import ConfusionMatrix
from seglab.module import IMAGENET_MEAN, IMAGENET_STD
from seglab.sample import Batch
from tests.benchmarks.short_experiment import ENCODER, EPOCHS, RATE


class ByHand(L.LightningModule):
    """The same training and evaluation, and nothing else."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.network = unet(ENCODER, num_classes)
        self.confusion = ConfusionMatrix(num_classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(N,3,H,W) uint8 → logits (N,C,H,W)."""
        logits: Tensor = self.network((image.float() / 255 - self.mean) / self.std)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch.image), batch.mask.long(), ignore_index=255)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self(batch.image)
        self.confusion.update(logits.max(1).indices, batch.mask)
        self.log("loss", F.cross_entropy(logits, batch.mask.long(), ignore_index=255), batch_size=len(batch.name))

    def on_validation_epoch_end(self) -> None:
        self.log("miou", self.confusion.compute().mean["miou"])
        self.confusion.reset()

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=RATE, weight_decay=0.0)
        scheduler = PolynomialLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def by_hand(data: SegmentationDataModule) -> None:
    """Train, validate after each epoch, test."""
    L.seed_everything(data.seed, verbose=False)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    module = ByHand(data.num_classes)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
