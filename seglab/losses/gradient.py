"""Gradient loss: squared difference between the spatial gradients of probabilities and truth."""

from torch import Tensor, nn

from seglab.losses.inputs import class_logits, one_hot
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class GradientLoss(nn.Module):
    """(1/(|Ω'|·C)) Σ_{Ω',c} (∂x p_c − ∂x y_c)² + (∂y p_c − ∂y y_c)², with p = softmax(logits), y = one-hot.

    ∂x and ∂y are forward differences.

    Ω' are the valid pixels whose right and lower neighbours are in the image and valid too: nothing is assumed beyond a
    border or about an ignored pixel. The loss compares two gradients, as the image gradient loss of Mathieu et al. 2016
    (arXiv:1511.05440) does. Some articles call the norm of ∂p alone a gradient loss. That norm is total variation: it
    does not use the truth, and is least for a constant p.

    For one logit both classes cost the same, so that the loss is that of the foreground alone.

    A constant error costs nothing. Therefore add this loss, with a weight of 0.1 to 1, to a loss of values such as
    `CrossEntropy`.

    Args:
        ignore_index: the mask value of ignored pixels.

    >>> import torch
    >>> edge = torch.tensor([[0, 1], [0, 1]])
    >>> GradientLoss()(torch.zeros(1, 2, 2, 2), edge[None])  # one step of 1 is missed
    tensor(1.)
    """

    def __init__(self, ignore_index: int = IGNORE) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        The loss is 0, with a gradient of 0, if Ω' is empty: if every pixel is ignored, or for images of one row or
        column.

        Raises:
            ValueError: if a shape or dtype is wrong.
        """
        p = class_logits(logits, mask).softmax(1)
        error = p - one_hot(mask, p.shape[1]).to(p.dtype)
        by_x, by_y = error[..., :-1, :].diff(dim=-1), error[..., :-1].diff(dim=-2)
        valid = mask != self.ignore_index
        stencil = valid[:, :-1, :-1] & valid[:, :-1, 1:] & valid[:, 1:, :-1]
        costs = (by_x.square() + by_y.square()).mean(1)
        return ratio_over_ranks((costs * stencil).sum(), stencil.sum())

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}"
