"""What all tests share: no network, few threads, small real data."""

import os

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ.pop("WANDB_API_KEY", None)

import lightning as L
import pytest
import torch

from seglab.data import Shapes

torch.set_num_threads(1)


@pytest.fixture
def shapes() -> Shapes:
    """12 training images of 32×32 in 4 classes: a second of work for a small network."""
    return Shapes(num_train=12, num_val=4, num_test=4, image_size=32, num_shapes=3, batch_size=4, num_workers=0)


def quiet_trainer(**settings: object) -> L.Trainer:
    """A real trainer that logs and prints nothing."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
    }
    return L.Trainer(**(defaults | settings))  # type: ignore[arg-type]
