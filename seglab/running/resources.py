"""Flags of a run that are not settings of its study: devices, logging, checkpoints and retries."""

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Literal

import torch

from seglab.running.flags import changed_flags
from seglab.study.study import Precision, Study
from seglab.tracking import Tracker, WandbMode

Accelerator = Literal["auto", "cpu", "gpu"]

_CHANGE_NOTHING = frozenset({"wandb", "wandb_model", "wandb_diff", "logger", "diagnostics", "checkpoint_minutes", "retries", "profile"})
"""Fields that change no number of a run. A recorded command repeats all others, a new field included."""


@dataclass(frozen=True)
class Resources:
    """Devices, logging, checkpoints and retries of a run.

    Each field is a flag, and its documentation is the flag's help.

    Raises:
        ValueError: a number is outside of its range.
    """

    devices: int = 1
    """Devices of one run on each node; they share a batch."""
    num_nodes: int = 1
    """Machines of one run, in a job of a cluster."""
    sync_batchnorm: bool = True
    """Compute batch norm over the whole batch, so that the number of devices changes no result. False computes it on
    each device, which is faster, and another setting of the study.
    """
    accelerator: Accelerator = "auto"
    """Kind of device; auto is gpu if the machine has one, else cpu."""
    wandb: WandbMode = "auto"
    """Mode of Weights & Biases; auto is online for users who are logged in, else offline."""
    wandb_model: bool = False
    """Keep the trained weights of each run at W&B, as an artifact."""
    wandb_diff: bool = True
    """Keep changes that are not committed in the record of each run at W&B."""
    logger: Tracker | None = None
    """Log each run elsewhere too: TensorBoard, LightningLogger or a Tracker of your own by its import path."""
    diagnostics: int = 20
    """Approximate number of times that a run measures the weights of each stage; 0 is never."""
    checkpoint_minutes: float = 10.0
    """Minutes from one checkpoint of a run to the next; 0 saves before every step. An interrupted run continues from
    the last one.
    """
    retries: int = 0
    """Number of times that a failed run is tried again."""
    precision: Precision | None = None
    """Precision, such as bf16-mixed, which is fast on GPUs; another setting of the study. Default: as the study says,
    else 32-true.
    """
    channels_last: bool = False
    """Lay out weights as channels_last, faster in bf16-mixed on many GPUs; another setting of the study."""
    compile: bool = False
    """Translate the network by torch.compile, a minute a run that pays in long ones; another setting of the study."""
    profile: bool = False
    """Show where the time goes (docs/howto/running.md). Runs on a GPU get slower; no number changes."""

    def __post_init__(self) -> None:
        for name, least, meaning in (("devices", 1, ""), ("diagnostics", 0, " (never)"), ("num_nodes", 1, ""), ("retries", 0, "")):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)}: must be {least}{meaning} or more")
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise ValueError(f"--checkpoint_minutes {self.checkpoint_minutes}: must be 0 (before every step) or more")

    @property
    def processes(self) -> int:
        """Number of processes of one run: one for each device."""
        return self.devices * self.num_nodes

    @property
    def batch_norm_parts(self) -> int:
        """Number of parts of a batch over which batch norm computes separate statistics."""
        return 1 if self.sync_batchnorm else self.processes

    @property
    def is_first_process(self) -> bool:
        """Return whether this process has rank 0 of its run.

        Lightning sets the ranks; on several nodes, `JobContext.ranks` sets them.
        """
        return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK"))

    @property
    def on_gpu(self) -> bool:
        """Return whether runs compute on CUDA devices."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def repeating_flags(self) -> list[str]:
        """Flags that a command needs to repeat the numbers of a run."""
        return changed_flags(self, {field.name for field in dataclasses.fields(self)} - _CHANGE_NOTHING)

    @property
    def worker_flags(self) -> list[str]:
        """Flags of resources that change no number of a run. They are passed on to each worker."""
        return changed_flags(self, _CHANGE_NOTHING)

    def applied_to(self, study: Study) -> Study:
        """Return a study with the precision, layout and translation that the flags ask for.

        Raises:
            ValueError: the precision needs a GPU, and the runs compute on the CPU.
        """
        study = dataclasses.replace(
            study,
            precision=study.precision if self.precision is None else self.precision,
            channels_last=study.channels_last or self.channels_last,
            compile=study.compile or self.compile,
        )
        self.check_precision(study, on_gpu=self.accelerator != "cpu")
        return study

    def check_precision(self, study: Study, *, on_gpu: bool) -> None:
        """Raise a ValueError for 16-mixed on a CPU. Lightning would train in bf16-mixed instead."""
        if study.precision == "16-mixed" and not on_gpu:
            raise ValueError("--precision 16-mixed: needs a GPU, and the runs compute on the CPU; choose bf16-mixed or 32-true")

    def shared_gpus(self) -> int:
        """Return the number of GPUs on this machine that runs may share; 0 if they compute on the CPU.

        Raises:
            ValueError: this machine has fewer GPUs than one run asks for.
        """
        gpus = 0 if self.accelerator == "cpu" else torch.cuda.device_count()
        if self.accelerator == "gpu" and gpus == 0 and not torch.backends.mps.is_available():
            raise ValueError("--accelerator gpu: PyTorch finds no GPU on this machine; choose cpu, or auto")
        if 0 < gpus < self.devices:
            raise ValueError(f"--devices {self.devices}: PyTorch finds {gpus} on this machine; choose fewer, or --accelerator cpu")
        return gpus
