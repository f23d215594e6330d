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

    Every rank r computes the same loss L(Σ_r s_r) from the sum, and DDP averages the gradients of the R ranks. Rank r
    has the gradient R·L'(Σ)·∂s_r. The average over ranks is therefore the gradient of one process on the joint batch.

    A tensor that requires no gradient is returned unchanged: in evaluation, ranks may hold different numbers of
    batches, and a collective would wait for ever.

    Args:
        local: floating, any shape, the same on every rank.

    Returns:
        The sum, of the same shape; `local` itself if there is one process, or if `local` requires no gradient.
    """
    if not (local.requires_grad and many_ranks()):
        return local
    total: Tensor = _SumOverRanks.apply(local)
    return total


def ratio_over_ranks(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Sum two 0-dim tensors over all processes, then divide; return 0 with a gradient of 0 if the denominator is 0."""
    top, bottom = numerator, denominator.to(numerator.dtype)
    if many_ranks():
        top, bottom = sum_over_ranks(torch.stack([top, bottom])).unbind()
    return top / torch.where(bottom == 0, torch.inf, bottom)  # the numerator need not be 0 too


def gathered(local: Tensor) -> Tensor:
    """Return the tensors of all processes, concatenated along dimension 0 in the order of ranks, without a gradient.

    Args:
        local: any shape and dtype, both the same on every rank.
    """
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def many_ranks() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def kth_largest_over_ranks(local: Tensor, valid: Tensor, part: float, training: bool) -> Tensor:
    """Return the k-th largest valid value over all processes, 0-dim.

    k is the number of all valid values times `part`, rounded up.

    Args:
        local: (M,) floating, without a gradient; M the same on every rank. An invalid value must be below every valid
            value.
        valid: (M,) bool, whether each value is valid. If no value is, an invalid value is returned.
        part: k divided by the number of valid values, in (0,1].
        training: whether all ranks take part; in evaluation ranks may hold different numbers of batches.
    """
    ranks = dist.get_world_size() if training and many_ranks() else 1
    most = math.ceil(part * len(local) * ranks)  # k, if all values are valid
    largest, number = local.topk(min(most, len(local))).values, valid.sum()
    if ranks > 1:
        largest, number = gathered(largest).topk(most).values, gathered(number.view(1)).sum()
    k = (part * number.double()).ceil().long().clamp(1, most)  # stays on the device: reading it would wait for a GPU
    return largest.gather(0, k.view(1) - 1).squeeze(0)
