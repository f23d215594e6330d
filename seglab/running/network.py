"""Prepare a network for a run as the study asks: its layout in memory, and its translation by `torch.compile`."""

import os
import shlex
import shutil
import sys

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from seglab.study.study import Study

TRANSLATIONS = 64
"""Largest number of translations of a network in a run: one for each set of frozen stages and each size of a batch."""


def lay_out(network: nn.Module, study: Study) -> None:
    """Lay out the weights of a network in memory as the study asks."""
    if study.channels_last:
        network.to(memory_format=torch.channels_last)


def check_compiler(study: Study, *, on_gpu: bool) -> None:
    """Raise a ValueError if a study is translated for the CPU of a machine without a C++ compiler.

    torch takes the compiler that the environment variable `CXX` names, or else g++, or clang++ on a Mac.
    """
    if study.compile and not on_gpu:
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(next(iter(shlex.split(compiler)), "")) is None:
            raise ValueError(
                f"--compile: needs a C++ compiler, and there is no {compiler}: install it, name another in CXX, or leave the flag out"
            )


def translate(network: nn.Module, study: Study) -> None:
    """Translate a network by `torch.compile` if the study asks for it. The names of its parameters stay as they are.

    Each size of a batch has a translation of its own, so that the numbers of a step do not depend on earlier steps. A
    network that needs more than `TRANSLATIONS` raises an error: torch would go on without a translation, with other
    last digits.

    Raises:
        ValueError: this version of torch does not let the number be set.
    """
    if study.compile:
        if not hasattr(torch.compiler.config, "fail_on_recompile_limit_hit"):
            raise ValueError(f"--compile: needs a newer PyTorch than {torch.__version__}; leave the flag out, or install 2.14")
        torch.compiler.reset()  # translations of earlier runs of this process would count
        torch.compiler.config.recompile_limit = TRANSLATIONS
        torch.compiler.config.fail_on_recompile_limit_hit = True
        network.compile(dynamic=False)


class UntranslatedEvaluation(Callback):
    """Evaluates without a translation, because images of an evaluation have many sizes, and each would need one."""

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.compiler.set_stance("force_eager")

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.compiler.set_stance("default")

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        torch.compiler.set_stance("default")

    on_test_start = on_validation_start
    on_test_end = on_validation_end
