"""The channels that a network needs, found from the pinned channels backwards through the weights that are not zero."""

from typing import Self

import torch
from torch import Tensor

from seglab.pruning.layers import Convolution, Layers

TIED = "tied to what is not zero, by a sum, a product or padding"
BORDER = "its constant stands for others' at zero-padded borders"
LAST = "the last of its layer"

_STEADY = 1e-3
"""Least ratio of a constant that carries others to the largest one: a smaller divisor would magnify rounding."""


class Kept:
    """The sets of channels that stay, and the reason of each."""

    def __init__(self, layers: Layers) -> None:
        self.mask = torch.zeros(layers.sets, dtype=torch.bool)
        self.reasons: dict[int, str] = {}
        for channel, reason in layers.pinned.items():
            self.add(channel, reason)

    def add(self, channel: int, reason: str) -> None:
        """Keep a set. Of several reasons the first is recorded."""
        self.mask[channel] = True
        self.reasons.setdefault(channel, reason)

    @classmethod
    def of(cls, layers: Layers) -> Self:
        """Return the fewest sets that preserve every output.

        A channel is removed if each convolution that mixes it with others knows its constant, or has zero weights for
        it in all filters that stay.
        """
        kept = cls(layers)
        while any(grow(layers.convolutions, kept) for grow in (_needed_by_weights, _needed_at_borders, _needed_to_be_there)):
            pass
        return kept


def dropped_at_borders(layer: Convolution, kept: Kept) -> Tensor:
    """Return which inputs of a zero-padded layer are removed although a kept filter uses them: (I,) bool.

    An input with the constant 0 does not count.
    """
    return _weighted(layer, kept) & ~kept.mask[layer.inputs] & (layer.seen.nan_to_num() != 0) & layer.padded


def representative(layer: Convolution, kept: Kept) -> int | None:
    """Return the index of the kept input that carries the constants of the removed ones; None if no kept input can.

    Zero padding cuts off the carried constants at the same pixels as the constant of the kept input.
    """
    size = layer.seen.abs().where(_steady(layer) & kept.mask[layer.inputs], 0.0)
    return int(size.argmax()) if size.any() else None


def _needed_by_weights(convolutions: list[Convolution], kept: Kept) -> bool:
    """Keep each input that is not constant and that a kept filter has a weight for; return whether any was added."""
    before = len(kept.reasons)
    for layer in reversed(convolutions):
        for channel in layer.inputs[_weighted(layer, kept) & layer.seen.isnan()].tolist():
            kept.add(channel, TIED)
    return len(kept.reasons) > before


def _needed_at_borders(convolutions: list[Convolution], kept: Kept) -> bool:
    """Keep one more constant channel if a zero-padded layer needs one to carry others; return whether one was added.

    The channel is the one that serves most of the layers in need; of equal ones, the one with the largest sum of
    absolute constants.
    """
    votes: dict[int, list[float]] = {}
    for layer in convolutions:
        if bool(dropped_at_borders(layer, kept).any()) and representative(layer, kept) is None:
            steady = _steady(layer)
            for channel, constant in zip(layer.inputs[steady].tolist(), layer.seen[steady].tolist(), strict=True):
                votes.setdefault(channel, []).append(abs(constant))
    if votes:
        kept.add(max(votes, key=lambda channel: (len(votes[channel]), sum(votes[channel]))), BORDER)
    return bool(votes)


def _needed_to_be_there(convolutions: list[Convolution], kept: Kept) -> bool:
    """Keep one filter, a zero filter if possible, of each layer that would have none; return whether any was added."""
    before = len(kept.reasons)
    for layer in convolutions:
        if not kept.mask[layer.outputs].any():
            kept.add(int(layer.outputs[layer.used.any(1).int().argmin()]), LAST)
    return len(kept.reasons) > before


def _weighted(layer: Convolution, kept: Kept) -> Tensor:
    """Return which inputs a kept filter has a weight other than 0 for: (I,) bool."""
    return layer.used[kept.mask[layer.outputs]].any(0)


def _steady(layer: Convolution) -> Tensor:
    size = layer.seen.nan_to_num().abs()
    return (size > 0) & (size >= _STEADY * size.max())
