"""Hugging Face's Trainer without logs, bars and checkpoints, keeping predictions instead of logits for the metric."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainingArguments

from tests.benchmarks.race.shared import DEVICE, IGNORE, RATE, Folder, Normalised, count, mean_iou


class Segmenter(nn.Module):
    """A network as the trainer calls it: with labels, it returns the loss before the logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.network(pixel_values)
        return {"loss": F.cross_entropy(logits, labels, ignore_index=IGNORE), "logits": logits}


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    size, (train_set, val_set) = folder.size, folder.datasets(("pixel_values", "labels"))
    model = Segmenter(Normalised(folder.network()))
    arguments = TrainingArguments(
        output_dir=str(folder.path / "hugging_face"),
        per_device_train_batch_size=size.batch,
        per_device_eval_batch_size=size.batch,
        num_train_epochs=size.epochs,
        train_sampling_strategy="sequential",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        bf16=DEVICE.type == "cuda",
        use_cpu=DEVICE.type == "cpu",
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    def scores(found: EvalPrediction) -> dict[str, float]:
        prediction, mask = torch.from_numpy(found.predictions), torch.from_numpy(found.label_ids)
        return {"miou": mean_iou(count(prediction, mask, size.classes))}

    def predictions(logits: Any, labels: Any) -> Any:
        return logits.argmax(1)

    trainer = Trainer(
        model,
        arguments,
        train_dataset=train_set,
        eval_dataset=val_set,
        compute_metrics=scores,
        optimizers=(torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0), None),
        preprocess_logits_for_metrics=predictions,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [row["eval_miou"] for row in trainer.state.log_history if "eval_miou" in row]
