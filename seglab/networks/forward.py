"""Forward pass of a network on the images of a data set: the same in training, in evaluation and after loading."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.networks.build import size_divisor

FULL = {torch.uint8: 255.0, torch.uint16: 65535.0}
"""Largest value of each integer type of images, which becomes 1."""


def normalised(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Convert images (N,C,H,W), uint8, uint16 or float32 in [0, 1], to float32 of about mean 0 and variance 1.

    `mean` and `std` (1,C,1,1) or (1,1,1,1) are on the scale [0, 1].
    """
    return (image.float() / FULL.get(image.dtype, 1.0) - mean) / std


def padded_forward(network: nn.Module, image: Tensor) -> Tensor:
    """Return the logits (N,C,H,W) of normalised images (N,C,H,W), zero-padded to a size that the network accepts."""
    height, width = image.shape[-2:]
    divisor = size_divisor(network)
    logits: object = network(F.pad(image, (0, -width % divisor, 0, -height % divisor)))
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        raise ValueError(_no_logits(network, logits))
    return logits[..., :height, :width]


def _no_logits(network: nn.Module, output: object) -> str:
    """Return a message about an output that is no tensor of logits (N,C,H,W)."""
    found, example = f"a {type(output).__name__}", ""
    if isinstance(output, Tensor):
        found = f"a tensor of shape {tuple(output.shape)}"
    elif isinstance(output, Mapping):
        found, example = f"a {type(output).__name__} of {', '.join(map(str, output))}", f", as in {{}}[{next(iter(output), 'out')!r}]"
    elif isinstance(output, tuple | list):
        found, example = f"a {type(output).__name__} of {len(output)}", ", as in {}[0]"
    wrapper = example.format("self.network(image)")
    return f"{type(network).__name__} returns {found}; expected logits (N,C,H,W) alone: wrap it in a module whose forward returns these{wrapper}"


def classes(logits: Tensor) -> Tensor:
    """Return the class (N,H,W) int64 of the largest logit of (N,C,H,W); for one logit (N,1,H,W), whether it is above 0.

    `max(1)` is used because `argmax(1)` takes 15 times as long on a CPU.
    """
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.max(1).indices


def has_nan(logits: Tensor, prediction: Tensor) -> Tensor:
    """Return (N,) bool: whether an image has a logit that is NaN.

    The maximum over logits with a NaN is NaN, so it is enough to look at the logits of the predicted classes (N,H,W).
    """
    chosen = logits if logits.shape[1] == 1 else logits.gather(1, prediction.unsqueeze(1))
    return chosen.isnan().flatten(1).any(1)
