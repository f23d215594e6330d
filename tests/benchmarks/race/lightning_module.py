"""A bare LightningModule, with what its user writes for a training and torchmetrics' mean IoU, and nothing else."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import JaccardIndex

from tests.benchmarks.race.shared import DEVICE, IGNORE, RATE, Folder, Normalised


class Bare(L.LightningModule):
    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self.network = Normalised(folder.network())
        self.jaccard = JaccardIndex(task="multiclass", num_classes=folder.size.classes, ignore_index=IGNORE, average="macro")
        self.scores: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        image, mask = batch
        loss = F.cross_entropy(self.network(image), mask, ignore_index=IGNORE)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        image, mask = batch
        logits = self.network(image)
        self.log("val_loss", F.cross_entropy(logits, mask, ignore_index=IGNORE))
        self.jaccard.update(logits, mask)
        self.log("val_miou", self.jaccard)

    def on_validation_epoch_end(self) -> None:
        self.scores.append(float(self.jaccard.compute()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=RATE, weight_decay=0.0)


def trainer(epochs: int) -> L.Trainer:
    """Return Lightning's trainer without logger, checkpoints and bars."""
    return L.Trainer(
        accelerator="gpu" if DEVICE.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if DEVICE.type == "cuda" else "32-true",
        max_epochs=epochs,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    module = Bare(folder)
    trainer(folder.size.epochs).fit(module, *folder.loaders())
    return module.scores
