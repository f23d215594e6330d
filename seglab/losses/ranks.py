"""Sums over all processes, so that a ratio of sums means the same on one GPU and on four."""

import math

import torch
import torch.distributed as dist
from torch import Tensor


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * dist.get_world_size()


def sum_over_ranks(local: Tensor) -> Tensor:
    """Sum a tensor over all processes, with a gradient.

    Every rank computes the same loss L(Σ_r s_r) from what is returned, and DDP averages the gradients of R ranks. The gradient
    R·L'(Σ)·∂s_r that leaves each rank therefore averages to that of one process on the joint batch.

    A tensor that asks for no gradient is returned as it is: in evaluation ranks may hold different numbers of batches, and a
    collective would wait for ever.

    Args:
        local: floating, any shape, the same on every rank.

    Returns:
        The sum, of the same shape; `local` itself where there is one process or no gradient.
    """
    if not (local.requires_grad and many_ranks()):
        return local
    total: Tensor = _SumOverRanks.apply(local)
    return total


def ratio_over_ranks(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide two 0-dim sums that were summed over all processes first; 0, with a gradient of 0, where the denominator is 0."""
    top, bottom = sum_over_ranks(torch.stack([numerator, denominator.to(numerator.dtype)])).unbind()
    return top / torch.where(bottom == 0, 1.0, bottom)


def gathered(local: Tensor) -> Tensor:
    """The values of a tensor on all processes, one after another along the first dimension; no gradient.

    Args:
        local: any shape and dtype, the same on every rank.
    """
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def many_ranks() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def kth_largest_over_ranks(local: Tensor, part: float, training: bool) -> Tensor:
    """The k-th largest value of all processes together, k being a `part` in (0,1] of their number, rounded up: 0-dim.

    Args:
        local: (M,) floating, without a gradient; M the same on every rank.
        part: k over the number of values.
        training: whether all ranks take part; in evaluation they may hold different numbers of batches.
    """
    ranks = dist.get_world_size() if training and many_ranks() else 1
    k = math.ceil(part * len(local) * ranks)
    largest = local.topk(min(k, len(local))).values
    return (gathered(largest).topk(k).values if ranks > 1 else largest)[-1]
