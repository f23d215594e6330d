"""TorchGeo's SemanticSegmentationTask with the other sides' network, optimizer and metric, by its own methods for this.

Its metrics of each training step are left out, because the other sides have none.
"""

import torch
from torchgeo.trainers import SemanticSegmentationTask
from torchmetrics import JaccardIndex, MetricCollection

from tests.benchmarks.race.lightning_module import trainer
from tests.benchmarks.race.shared import IGNORE, RATE, Folder, Normalised


class Task(SemanticSegmentationTask):  # type: ignore[misc]  # an optional library
    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.scores: list[float] = []
        super().__init__(num_classes=folder.size.classes, ignore_index=IGNORE, lr=RATE)

    def configure_models(self) -> None:
        self.model = Normalised(self.folder.network())

    def configure_metrics(self) -> None:
        size = self.folder.size
        jaccard = JaccardIndex(task="multiclass", num_classes=size.classes, ignore_index=IGNORE, average="macro")
        self.train_metrics = MetricCollection({})
        self.val_metrics = MetricCollection({"miou": jaccard}, prefix="val_")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=0.0)

    def on_validation_epoch_end(self) -> None:
        self.scores.append(float(self.val_metrics.compute()["val_miou"]))


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    task = Task(folder)
    trainer(folder.size.epochs).fit(task, *folder.loaders(("image", "mask")))
    return task.scores
