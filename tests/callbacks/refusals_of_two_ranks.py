"""Run by test_refusals_of_two_ranks.py: what two gloo processes of Lightning's DDP refuse, written as lines of a file.

python refusals_of_two_ranks.py FOLDER
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy

from seglab.data import SegmentationDataModule, Shapes
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import unet
from seglab.networks.batch_norm import JointBatchNorm
from tests.nets import fixed_module
from tests.trainers import quiet_trainer

DATA = SegmentationDataModule(Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0)


def said(act: Callable[[], object]) -> str:
    try:
        act()
    except ValueError as error:
        return str(error)
    return "nothing"


def fit(encoder: str, **settings: object) -> None:
    torch.manual_seed(0)
    network = unet(encoder, 4)
    module = SegmentationModule(network, CrossEntropy(), num_classes=4)
    quiet_trainer(devices=2, strategy=DDPStrategy(process_group_backend="gloo"), limit_train_batches=1, **settings).fit(
        module, datamodule=DATA
    )


def split_twice(stage: str) -> None:
    trainer = quiet_trainer(
        devices=2, strategy=DDPStrategy(process_group_backend="gloo"), use_distributed_sampler=True, limit_val_batches=1.0, max_epochs=1
    )
    getattr(trainer, stage)(fixed_module(None), datamodule=DATA)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {
        "train": said(lambda: split_twice("fit")),
        "validate": said(lambda: split_twice("validate")),
        "test": said(lambda: split_twice("test")),
        "Lightning's norms": said(lambda: fit("tu-test_resnet", sync_batchnorm=True)),
        "ours": said(lambda: fit("tu-mobilenetv3_small_050", plugins=[JointBatchNorm()])),
        "split once": said(lambda: fit("tu-test_resnet")),
    }
    torch.save(found, Path(sys.argv[1], f"{os.environ.get('LOCAL_RANK', 0)}.pt"))
