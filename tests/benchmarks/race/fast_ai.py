"""fastai's Learner on PyTorch's loaders and optimizer, without printed logs and progress bars.

`fastai.callback.progress`, which adds the bars, is not imported.
"""

from functools import partial

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import JaccardCoeffMulti
from fastai.optimizer import OptimWrapper
from torch import nn

from tests.benchmarks.race.shared import DEVICE, IGNORE, RATE, Folder, Normalised


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    loaders = DataLoaders(*folder.loaders(), device=DEVICE)
    optimizer = partial(OptimWrapper, opt=torch.optim.AdamW)
    learner = Learner(
        loaders,
        Normalised(folder.network()),
        loss_func=nn.CrossEntropyLoss(ignore_index=IGNORE),
        opt_func=optimizer,
        lr=RATE,
        wd=0.0,
        metrics=JaccardCoeffMulti(axis=1),
    )
    if DEVICE.type == "cuda":
        learner = learner.to_bf16()
    with learner.no_logging():
        learner.fit(folder.size.epochs)
    return [float(row[2]) for row in learner.recorder.values]
