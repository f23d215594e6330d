"""SIGTERM reaches our handler in a training and in an evaluation: Lightning sets its own before each."""

import subprocess
import sys

import pytest

CHILD = """
import os, signal, sys, warnings
from lightning.pytorch.strategies import DDPStrategy
from seglab.callbacks import ResumeCheckpoint
from seglab.callbacks.ranks import DDPWithOwnSignals
from seglab.data import SegmentationDataModule, Shapes
from seglab.interruption import Interruption
from tests.nets import fixed_module
from tests.trainers import quiet_trainer
from pathlib import Path

interruption = Interruption()
interruption.listen()
ours = signal.getsignal(signal.SIGTERM)
seen = {}


class Watching(SegmentationDataModule):
    def train_dataloader(self):  # Lightning asks for it between its handler and the first hook
        seen["loader"] = signal.getsignal(signal.SIGTERM) == ours
        return super().train_dataloader()


class Module(type(fixed_module(None))):
    def training_step(self, batch, batch_idx):
        seen["training"] = signal.getsignal(signal.SIGTERM) == ours
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        seen["validation"] = signal.getsignal(signal.SIGTERM) == ours
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch, batch_idx):
        seen["test"] = signal.getsignal(signal.SIGTERM) == ours
        return super().test_step(batch, batch_idx)


kind, callback = sys.argv[1:]
strategy = {
    "one device": "auto",
    "ddp": DDPWithOwnSignals(interruption.listen_again, "gloo"),
    "lightning's ddp": DDPStrategy(process_group_backend="gloo"),
}[kind]
callbacks = [ResumeCheckpoint(Path("unused"), 1000, interruption)] if callback == "with" else []
warnings.simplefilter("ignore")
trainer = quiet_trainer(strategy=strategy, devices=1, max_epochs=1, limit_val_batches=1, callbacks=callbacks)
module = fixed_module(None, kind=Module)
data = Watching(Shapes(num_train=4, num_val=2, num_test=2, image_size=16, num_shapes=3), batch_size=2, num_workers=0)
trainer.fit(module, datamodule=data)
trainer.test(module, datamodule=data, verbose=False)
assert signal.getsignal(signal.SIGTERM) == ours, "afterwards"
print("ours:", *(name for name, is_ours in seen.items() if is_ours))
"""


@pytest.mark.parametrize(
    ("strategy", "callback", "ours"),
    [
        pytest.param(
            "one device", "with", "training validation test", marks=pytest.mark.slow
        ),  # before the first hook Lightning's handler calls ours
        ("ddp", "without", "loader training validation test"),
        pytest.param("lightning's ddp", "without", "", marks=pytest.mark.slow),
    ],
)
def test_the_handler_is_ours(strategy: str, callback: str, ours: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, strategy, callback], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].split() == ["ours:", *ours.split()]
