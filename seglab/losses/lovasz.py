"""Lovász-softmax: the intersection over union itself, made continuous."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seglab.losses.inputs import class_logits, one_hot, scored_classes
from seglab.losses.ranks import gathered, many_ranks, ratio_over_ranks, sum_over_ranks
from seglab.losses.region import Reduction
from seglab.sample import IGNORE


class Lovasz(nn.Module):
    """Lovász-softmax, mean over the present classes P of Σ_i e_(i) [Δ(S_i) − Δ(S_{i−1})] (Berman et al. 2018,
    arXiv:1705.08790).

    e = |y − p| are the errors of a class at the valid pixels, with p = softmax(logits), y = one-hot. e_(1) ≥ e_(2) ≥ …
    are the sorted errors, and S_i are the pixels of the i largest errors. Δ(S) = |S| / |{y = 1} ∪ S| is 1 − IoU of the
    class if the pixels S are wrong and all others right. Hard predictions cost 1 − mean IoU. For soft predictions, a
    class costs the convex closure of Δ: the largest convex function of the errors that nowhere exceeds Δ at hard
    predictions. A class that is not in the truth costs only the probability that it takes from present classes.

    For one logit z, the two classes have the probabilities 1 − σ(z) and σ(z). The Lovász hinge of the paper, which SMP
    and kornia use for one logit, takes 1 ± z as errors: another loss. kornia's Lovász-softmax counts an absent class
    too, by its largest probability.

    The pixels are sorted once for each class. The gradient treats the order as a constant, as in the authors' code.

    Args:
        reduction: the pixels over which the sum of a class runs. `"batch"`: all pixels of the batch, over all processes
            while training. Every rank then sorts the errors of all ranks: the batches must have one shape on all ranks,
            and time and memory grow with the number of ranks. `"image"`: the pixels of each image; the loss is the mean
            over images that have a valid pixel.
        ignore_index: the mask value of ignored pixels.
        foreground_only: whether one logit is scored by its foreground alone, as `classes=[1]` of the authors' code
            does; the default is the mean over background and foreground. Without a foreground pixel the loss is then 0;
            theirs is the largest probability.

    Raises:
        ValueError: if `reduction` is none of the words above.

    >>> surely = torch.tensor([[40.0, 40.0, 0.0, 0.0], [0.0, 0.0, 40.0, 40.0]]).view(1, 2, 1, 4)  # classes 0, 0, 1, 1
    >>> Lovasz()(surely, torch.tensor([[[0, 1, 1, 1]]]))  # 1 − (1/2 + 2/3) / 2
    tensor(0.4167)
    """

    def __init__(self, reduction: Reduction = "batch", ignore_index: int = IGNORE, foreground_only: bool = False) -> None:
        super().__init__()
        if reduction not in ("batch", "image"):
            raise ValueError(f"reduction must be 'batch' or 'image', got {reduction!r}")
        self.reduction = reduction
        self.ignore_index = ignore_index
        self.foreground_only = foreground_only

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        The loss is 0, with a gradient of 0, if every pixel is ignored.

        Raises:
            ValueError: if a shape or dtype is wrong, or `foreground_only` and C is not 1.
        """
        p = class_logits(logits, mask).softmax(1)
        scored = scored_classes(logits, self.foreground_only)
        is_valid = mask != self.ignore_index
        y = self._sets(one_hot(mask.where(is_valid, -1), p.shape[1])[:, scored])
        valid = self._sets(is_valid.unsqueeze(1))[0]
        costs = torch.stack([self._cost(p_c, y_c, valid) for p_c, y_c in zip(self._sets(p[:, scored]), y, strict=True)])
        sizes = y.sum(2).to(p.dtype)
        if self.reduction == "batch":
            return _mean_of_present(*sum_over_ranks(torch.stack([costs, sizes]))).squeeze(0)
        return ratio_over_ranks(_mean_of_present(costs, sizes).sum(), valid.any(1).sum())

    def _sets(self, pixels: Tensor) -> Tensor:
        """Reshape (N,C,H,W) to (C,B,M): for each class, B sets of M pixels that are sorted together.

        A set is the batch or one image.
        """
        by_image = pixels.transpose(0, 1).flatten(2)
        return by_image.flatten(1).unsqueeze(1) if self.reduction == "batch" else by_image

    def _cost(self, p: Tensor, y: Tensor, valid: Tensor) -> Tensor:
        """Return Σ e·g (B,) of one class over the pixels of this process, g being the Jaccard increments.

        p is floating, y and valid are bool, all (B,M).
        """
        errors = torch.where(y, 1 - p, p)
        # The key −1 sorts ignored pixels behind all valid ones, so that no S_i of a valid pixel holds an ignored pixel.
        # The increment of an ignored pixel is 0, because all pixels of the class come before it.
        keys = errors.detach().where(valid, -1.0)
        if self.reduction == "image" or not (p.requires_grad and many_ranks()):
            return (errors * jaccard_increments(keys, y)).sum(1)
        increments = jaccard_increments(gathered(keys).view(1, -1), gathered(y).view(1, -1))
        return (errors * increments.view(-1, *errors.shape)[dist.get_rank()]).sum(1)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, foreground_only={self.foreground_only}"


def jaccard_increments(errors: Tensor, y: Tensor) -> Tensor:
    """Return each pixel's increase of Δ(S) = |S| / |{y = 1} ∪ S|, when pixels join S in the order of falling errors.

    A pixel of the class leaves the union u = |{y = 1} ∪ S| as it is, and adds 1 / u. Any other pixel enlarges the union
    to u, and adds |{y = 1} \\ S| / u(u − 1). Both expressions are never negative and keep float32's precision;
    differences of Δ do neither. All sums are of integers, and so exact in any order.

    Args:
        errors: (B,M) floating, B sets of M pixels; of equal errors the earlier comes first.
        y: (B,M) bool, whether the pixel is of the class.

    Returns:
        (B,M), pixel by pixel in the order given; 0 for a set without a pixel of the class.

    >>> jaccard_increments(torch.tensor([[0.1, 0.7, 0.4]]), torch.tensor([[True, False, True]]))  # Δ = 1/3, 2/3, 1
    tensor([[0.3333, 0.3333, 0.3333]])
    """
    order = errors.argsort(dim=1, descending=True, stable=True)
    joins = y.gather(1, order)
    wrong = joins.cumsum(1)
    size = y.sum(1, keepdim=True)
    union = size + torch.arange(1, y.shape[1] + 1, device=y.device) - wrong
    by_others = (size - wrong).to(errors.dtype) / (union * (union - 1)).clamp(min=1)
    return torch.zeros_like(errors).scatter(1, order, torch.where(joins, union.to(errors.dtype).reciprocal(), by_others))


def _mean_of_present(costs: Tensor, sizes: Tensor) -> Tensor:
    """Return the mean (B,) of costs (C,B) over the present classes; 0 if no class is present.

    A class is present if its number of pixels in `sizes` (C,B) is positive.
    """
    present = sizes > 0
    return costs.where(present, 0.0).sum(0) / present.sum(0).clamp(min=1)
