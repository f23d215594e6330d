"""Run by test_two_ranks.py: trains each schedule on two gloo ranks with Lightning's DDP and writes each rank's results.

python two_ranks.py FOLDER
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from seglab.freezing import FreezeSchedule
from seglab.module import SegmentationModule
from seglab.networks.batch_norm import JointBatchNorm
from seglab.regularizers import L2, Anchored
from seglab.sample import Batch
from tests.freezing.deep import EPOCHS, SCHEDULES, Deep
from tests.nets import adamw, batches, fixed_module, loader, trained
from tests.trainers import quiet_trainer

RANK = int(os.environ.get("LOCAL_RANK", 0))
ARMS: dict[str, dict[str, Any]] = {
    **{f"{name}, synchronised norms": {"freeze": schedule, "net": Deep} for name, schedule in SCHEDULES.items()},
    **{f"{name}, frozen norms": {"freeze": schedule, "net": Deep, "batch_norm": "frozen"} for name, schedule in SCHEDULES.items()},
    "gradual, accumulated": {"freeze": SCHEDULES["lp-ft in mid-epoch"], "net": Deep, "accumulate": 2},
    "gradual, anchored": {"freeze": SCHEDULES["gradual"], "net": Deep, "regularizer": Anchored(L2(0.3))},
}
RESUMED = ["lp-ft in mid-epoch", "gradual × layer-wise, warmed up", "freeze out", "alternating"]


def train(arm: str, given: list[Batch], **settings: Any) -> dict[str, Tensor]:
    of_the_arm = dict(ARMS[arm])
    accumulate, regularizer = of_the_arm.pop("accumulate", 1), of_the_arm.pop("regularizer", None)
    module = fixed_module(regularizer, adamw, **of_the_arm)
    module.network.pretrained = frozenset(name for name, _ in module.network.named_parameters() if name.startswith("encoder."))
    return trained(module, given, max_epochs=EPOCHS, accumulate_grad_batches=accumulate, **settings)


def share(batch: Batch, rank: int) -> Batch:
    """Every second image."""
    half = slice(rank, None, 2)
    return Batch(batch.image[half], batch.mask[half], batch.name[half], batch.image_size[half], batch.mask_size[half])


def two_devices(sync_batchnorm: bool = True) -> dict[str, Any]:
    plugins = [JointBatchNorm()] if sync_batchnorm else []
    return {"devices": 2, "strategy": DDPStrategy(process_group_backend="gloo"), "plugins": plugins}


class LightningsOwn(SegmentationModule):
    """Frozen by Lightning's callback in the place of ours."""

    @property
    def backbone(self) -> nn.Module:
        return self.network.get_submodule("encoder")

    def configure_callbacks(self) -> list[Any]:
        return []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adamw([parameter for parameter in self.network.parameters() if parameter.requires_grad])


def backbone_finetuning(given: list[Batch]) -> dict[str, Tensor]:
    """The counter-example: the encoder is frozen for an epoch, by Lightning's own callback."""
    module = fixed_module(None, adamw, kind=LightningsOwn, net=Deep)
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=1, lambda_func=lambda epoch: 1.0, backbone_initial_lr=1e-2, train_bn=False)
    return trained(module, given, max_epochs=EPOCHS, callbacks=[callback], **two_devices(sync_batchnorm=False))


class Drifting(SegmentationModule):
    """One process changes a weight behind the others' backs."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.global_rank == 1 and self.global_step == 2:
            with torch.no_grad():
                self.network.get_parameter("decoder.up.weight")[0, 0, 0, 0] += 1e-6


def message_of(freeze: FreezeSchedule, given: list[Batch]) -> str:
    """Return the message of a training whose ranks have drifted apart."""
    try:
        trained(fixed_module(None, adamw, kind=Drifting, net=Deep, freeze=freeze), given, max_epochs=EPOCHS, **two_devices())
    except RuntimeError as error:
        return str(error)
    return "nothing"


def resumed(schedule: str, given: list[Batch], folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of an uninterrupted training, and of one that goes on after its second epoch."""

    def fitted(**settings: Any) -> dict[str, Tensor]:
        module = fixed_module(None, adamw, net=Deep, freeze=SCHEDULES[schedule])
        checkpoints = ModelCheckpoint(folder / schedule, "{epoch}", save_top_k=-1, every_n_epochs=1, save_on_train_epoch_end=True)
        trainer = quiet_trainer(max_epochs=EPOCHS, enable_checkpointing=True, callbacks=[checkpoints], **two_devices())
        trainer.fit(module, loader(given), loader(given), **settings)
        return {name: value.detach().clone() for name, value in module.network.state_dict().items()}

    whole = fitted()
    return whole, fitted(ckpt_path=folder / schedule / "epoch=1.ckpt", weights_only=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, mine = Path(sys.argv[1]), [share(batch, RANK) for batch in batches()]
    made: dict[str, Callable[[], Any]] = {arm: partial(train, arm, mine, **two_devices()) for arm in ARMS}
    made |= {f"resumed {schedule}": partial(resumed, schedule, mine, folder) for schedule in RESUMED}
    made |= {
        "plain norms": lambda: trained(
            fixed_module(None, adamw, net=Deep, freeze=SCHEDULES["gradual"]), mine, max_epochs=EPOCHS, **two_devices(sync_batchnorm=False)
        ),
        "BackboneFinetuning": lambda: backbone_finetuning(mine),
        "drift before a change": lambda: message_of(SCHEDULES["gradual"], mine),
        "drift at the end": lambda: message_of(SCHEDULES["full"], mine),
    }
    torch.save({name: make() for name, make in made.items()}, folder / f"{RANK}.pt")
