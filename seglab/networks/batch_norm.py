"""Batch norms over the images of all processes, so that outputs do not depend on the number of processes."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override


class JointBatchNorm(LayerSync):
    """A plugin for `Trainer(plugins=[JointBatchNorm()])` in place of `sync_batchnorm=True`.

    Lightning's own conversion drops the activation that timm's batch norms contain (timm's issue 1254), and works on
    GPUs only.

    Args:
        on_gpu: whether the network computes on CUDA devices, for which torch has kernels. None takes this from the
            device of the LightningModule that is converted.
    """

    def __init__(self, on_gpu: bool | None = None) -> None:
        self.on_gpu = on_gpu

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Convert the batch norms of `model`, which keeps its parameters and their names.

        Raises:
            ValueError: if a norm has a forward pass of its own, which the conversion would lose.
        """
        on_gpu = isinstance(model, L.LightningModule) and model.device.type == "cuda" if self.on_gpu is None else self.on_gpu
        for place, parent in list(model.named_modules()):
            for name, norm in list(parent.named_children()):
                if not isinstance(norm, _BatchNorm) or isinstance(norm, nn.SyncBatchNorm | _Joint | _JointAct):
                    continue
                if type(norm) is not BatchNormAct2d and type(norm).forward is not _BatchNorm.forward:
                    raise ValueError(
                        f"{f'{place}.{name}'.lstrip('.')} is a {type(norm).__name__}, a batch norm with a forward pass of its own, which cannot be computed "
                        "over several processes: without sync_batchnorm each takes the statistics of its own images"
                    )
                if on_gpu:
                    parent.add_module(name, convert_sync_batchnorm(norm))  # type: ignore[no-untyped-call]
                else:
                    norm.__class__ = _JointAct if isinstance(norm, BatchNormAct2d) else _Joint
        return model

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Return `model` unchanged, because outside of training a converted norm computes what a plain norm does."""
        return model


class _Joint(_BatchNorm):
    """Batch norm over all processes on a CPU, written out because torch has no CPU kernel for it."""

    @override
    def _check_input_dim(self, input: Tensor) -> None:
        pass

    @override
    def forward(self, input: Tensor) -> Tensor:
        return _normalized(self, input) if _of_all(self) else super().forward(input)


class _JointAct(BatchNormAct2d):
    """Batch norm over all processes on a CPU, with timm's dropout and activation."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not _of_all(self):
            plain: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return plain
        activated: Tensor = self.act(self.drop(_normalized(self, x)))
        return activated


def _of_all(norm: _BatchNorm) -> bool:
    return norm.training and torch.distributed.is_initialized()


def _normalized(norm: _BatchNorm, image: Tensor) -> Tensor:
    """Normalize `image` (N,C,...) over the N of all processes, and update the running statistics as torch does."""
    dims = [0, *range(2, image.ndim)]
    values = image.to(torch.promote_types(image.dtype, torch.float32))
    count = _SumOfAll.apply(torch.tensor(float(values.numel() // values.shape[1])))
    shape = (1, -1, *[1] * (image.ndim - 2))
    mean = _SumOfAll.apply(values.sum(dims)) / count
    centred = values - mean.view(shape)
    variance = _SumOfAll.apply(centred.square().sum(dims)) / count
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * count / (count - 1), momentum)
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    normalized = centred * scale.view(shape)
    if norm.affine:
        normalized = normalized + norm.bias.view(shape)
    like_image: Tensor = normalized.to(image.dtype)
    return like_image


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes. The loss of each process depends on all addends, so gradients are summed too."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
