"""The trainer of a fit: which of its arguments seglab decides, and from what the user has asked for."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.strategies import DDPStrategy
from typing_extensions import override

from seglab.callbacks.ranks import DDPWithOwnSignals
from seglab.checkpoints import AtomicCheckpoints
from seglab.fitting.launch import settle_processes
from seglab.interruption import Interruption


class KeptConfig(SaveConfigCallback):
    """Holds the configuration of the command. It is written once nothing is left that could refuse the command."""

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write nothing, in contrast to Lightning's."""

    def write(self, folder: Path) -> None:
        """Write `config.yaml`, with which the same command can be given again."""
        self.parser.save(self.config, str(folder / "config.yaml"), skip_none=False, overwrite=False, multifile=False)


def trainer_arguments(given: Namespace, checkpoint_io: AtomicCheckpoints, interruption: Interruption) -> dict[str, Any]:
    """Return the arguments of a trainer, as yet without loggers, that differ from the given ones.

    Seglab's plugin replaces `sync_batchnorm`, which drops the activation in timm's batch norms.

    Args:
        given: the trainer's arguments that the user has asked for.
        checkpoint_io: writes and reads the checkpoints, unless the user has named a plugin for it.
        interruption: its signal handlers stay in place.
    """
    wanted = L.Trainer(
        accelerator=given.accelerator,
        devices=given.devices,
        num_nodes=given.num_nodes,
        strategy=given.strategy,
        plugins=[LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    plugins = listed(given.plugins)
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins) and (environment := settle_processes(wanted)) is not None:
        plugins.append(environment)
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(checkpoint_io)
    if given.sync_batchnorm:
        from seglab.networks.batch_norm import JointBatchNorm  # imports timm, for which `--help` must not wait

        plugins.append(JointBatchNorm())
    strategy = given.strategy
    if type(wanted.strategy) is DDPStrategy and strategy in ("auto", "ddp"):
        strategy = DDPWithOwnSignals(interruption.listen_again, None if wanted.strategy.root_device.type == "cuda" else "gloo")
    own = any(isinstance(callback, Checkpoint) for callback in listed(given.callbacks))
    return {
        "plugins": plugins,
        "strategy": strategy,
        "sync_batchnorm": False,
        "logger": False,
        "enable_checkpointing": own and given.enable_checkpointing is not False,
        "enable_progress_bar": sys.stdout.isatty() if given.enable_progress_bar is None else given.enable_progress_bar,
        "enable_model_summary": bool(given.enable_model_summary),
        "deterministic": "warn" if given.deterministic is None else given.deterministic,
    }


def listed(given: Any) -> list[Any]:
    """Return one object or several as a list of its own; an empty list for None."""
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
