"""Several processes that train one network: DDP as it must be for a trainable set that changes, and the proof that all hold the same weights."""

import hashlib
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from torch import Tensor, nn


def check_strategy(trainer: L.Trainer, *, freezes: bool) -> None:
    """A ValueError for strategies under which penalties and schedules would not be what they say."""
    strategy = trainer.strategy
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy) or isinstance(strategy, DeepSpeedStrategy):
        raise ValueError(
            f"{type(strategy).__name__} splits weights over processes, and penalties, freezing schedules and the check that all processes "
            "hold the same weights need them whole: use one device, or strategy='ddp'"
        )
    if freezes and getattr(strategy, "_ddp_kwargs", {}).get("static_graph"):
        raise ValueError(
            "static_graph=True takes the graph of the first step for that of all, and a freezing schedule changes it: leave it out"
        )


def join_batch_norms(trainer: L.Trainer) -> None:
    """Where `sync_batchnorm=True` was asked for, ours in the place of Lightning's, which drops the activation that timm's norms keep inside."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy._layer_sync, TorchSyncBatchNorm):
        from seglab.networks.batch_norm import JointBatchNorm

        strategy._layer_sync = JointBatchNorm(on_gpu=strategy.root_device.type == "cuda")


def rewrap(trainer: L.Trainer) -> None:
    """Build DDP anew: its reducer knows only the parameters that required a gradient when it was built."""
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy.model = trainer.lightning_module
        trainer.strategy.configure_ddp()


def check_equal_weights(trainer: L.Trainer, module: nn.Module) -> None:
    """Compare a hash of every parameter across processes.

    Raises:
        RuntimeError: if they differ, on every process, with the names of the parameters.
    """
    if trainer.world_size == 1:
        return
    mine = {name: _hash(parameter) for name, parameter in module.named_parameters()}
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, mine)
    for rank, other in enumerate(found):
        if different := [name for name in found[0] if other[name] != found[0][name]]:
            raise RuntimeError(
                f"after step {trainer.global_step}, process {rank} holds other weights than process 0 in {len(different)} of {len(mine)} tensors "
                f"({', '.join(different[:3])}): the processes no longer train one network, and what follows would be wrong. Does a hook of "
                "the module change weights or gradients on one of them alone?"
            )


def share_buffers(trainer: L.Trainer, module: nn.Module) -> None:
    """Give all processes the buffers of the first: plain batch norms keep statistics of their own on each."""
    if trainer.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)


class AnyRank:
    """Whether any process says yes, which all learn in the same call.

    On GPUs they learn it in the call after that: an answer at once would make the processor wait for all that the device has still to
    do. The call that gives it takes no vote, so that what was said before it is not said twice.

    Args:
        device: where the process group works.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._answer = torch.zeros((), pin_memory=device.type == "cuda")
        self._arrived = torch.Event(device) if device.type == "cuda" else None
        self._open = False
        """Whether a vote has been taken whose answer nobody has looked at."""

    def __call__(self, yes: bool) -> bool:
        if self._open and self._arrived is not None:
            self._arrived.synchronize()
            self._open = False
            if bool(self._answer):
                return True
        votes = torch.full((), float(yes), device=self.device)
        torch.distributed.all_reduce(votes)
        if self._arrived is None:
            return bool(votes)
        self._answer.copy_(votes, non_blocking=True)
        self._arrived.record()
        self._open = True
        return False


def on_processor(state: Any) -> Any:
    """Plain data with its tensors in main memory."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_processor(value) for key, value in state.items()}
    return [on_processor(value) for value in state] if isinstance(state, list) else state


def _hash(tensor: Tensor) -> bytes:
    return hashlib.sha256(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).digest()
