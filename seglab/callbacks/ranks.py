"""Train on several ranks: DDP for a changing set of trainable parameters, and checks that all ranks' weights agree."""

import hashlib
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils.data import DistributedSampler
from typing_extensions import override

from seglab.callbacks.lightning_internals import has_static_graph
from seglab.data import SegmentationDataModule


class DDPWithOwnSignals(DDPStrategy):
    """DDP that sets this program's signal handlers again at each barrier.

    Lightning installs a handler of SIGTERM just before the barrier with which a training or an evaluation begins. That
    handler broadcasts. It may wait for ever for a rank that is in another collective call (Lightning's issue 20806 and
    pull request 20825).

    Args:
        listen: sets the signal handlers, for example `Interruption.listen_again`.
        process_group_backend: as in `DDPStrategy`.
    """

    def __init__(self, listen: Callable[[], None], process_group_backend: str | None = None) -> None:
        super().__init__(process_group_backend=process_group_backend)
        self.listen = listen

    @override
    def barrier(self, name: str | None = None) -> None:
        self.listen()
        super().barrier(name)


def check_strategy(trainer: L.Trainer, *, freezes: bool) -> None:
    """Check that penalties and schedules work under the trainer's strategy.

    Raises:
        ValueError: the strategy splits weights over ranks, or its graph is static and a schedule would change it.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy) or isinstance(strategy, DeepSpeedStrategy):
        raise ValueError(
            f"{type(strategy).__name__} splits weights over processes, and penalties, freezing schedules and the check that all processes "
            "hold the same weights need them whole: use one device, or strategy='ddp'"
        )
    if freezes and has_static_graph(strategy):
        raise ValueError(
            "static_graph=True assumes that the graph of the first step never changes, and a freezing schedule changes it: leave it out"
        )


def check_sampling(trainer: L.Trainer, loaders: object) -> None:
    """Check that Lightning has not replaced the samplers of a `SegmentationDataModule`.

    The samplers of the data module already split the data over the ranks.

    Args:
        trainer: the trainer.
        loaders: its loaders, one or a list.

    Raises:
        ValueError: Lightning splits the data a second time.
    """
    if trainer.world_size == 1 or not isinstance(getattr(trainer, "datamodule", None), SegmentationDataModule):
        return
    for loader in loaders if isinstance(loaders, list) else [loaders]:
        if isinstance(getattr(loader, "sampler", None), DistributedSampler):
            raise ValueError("Lightning would split the data over the ranks a second time: give the Trainer use_distributed_sampler=False")


def check_batch_norms(before: dict[str, type[nn.Module]], network: nn.Module) -> None:
    """Check that `Trainer(sync_batchnorm=True)` has not changed what the batch norms of a network compute.

    Lightning's conversion drops the activation that timm's batch norms contain (timm's issue 1254). On CPUs torch
    refuses it by itself.

    Args:
        before: the type of each module of the network, by name, before the trainer converted it.
        network: the network as it trains.

    Raises:
        ValueError: a batch norm was replaced by one that computes something else.
    """
    for name, module in network.named_modules():
        if type(module) is not nn.SyncBatchNorm or before.get(name) in (None, nn.SyncBatchNorm):
            continue
        if before[name].forward is not nn.BatchNorm2d.forward:
            raise ValueError(
                f"Trainer(sync_batchnorm=True) has replaced the {before[name].__name__} {name!r} by a norm that computes something else. "
                "Leave sync_batchnorm out, and give the Trainer plugins=[seglab.networks.batch_norm.JointBatchNorm()]"
            )


def check_equal_weights(trainer: L.Trainer, module: nn.Module) -> None:
    """Compare a hash of every parameter across ranks.

    Raises:
        RuntimeError: on every rank, with the names of the parameters, if they differ.
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
    """Copy the buffers of the first rank to all others, because plain batch norms differ between ranks."""
    if trainer.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)


class AnyRank:
    """Votes: tells all ranks whether any rank says yes.

    On CPUs the same call returns the answer. On GPUs the next call returns it, because an immediate answer would make
    the CPU wait for all queued work of the device. The call that returns yes takes no new vote, so that one yes is not
    reported twice.

    Args:
        device: the device of the process group.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._answer = torch.zeros((), pin_memory=device.type == "cuda")
        self._arrived = torch.Event(device) if device.type == "cuda" else None
        self._open = False
        """True if there is a vote whose answer has not been read yet."""

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


def on_cpu(state: Any) -> Any:
    """Return nested dicts and lists with their tensors copied to main memory."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


def _hash(tensor: Tensor) -> bytes:
    return hashlib.sha256(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).digest()
