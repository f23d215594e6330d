"""Which channels a network needs: from what must stay, backwards through the weights that are not zero."""

from typing import Self

import torch
from torch import Tensor

from seglab.pruning.layers import Convolution, Layers

TIED = "tied to what is not zero, by a sum, a product or padding"
BORDER = "its constant stands for others' at zero-padded borders"
LAST = "the last of its layer"

_STEADY = 1e-3
"""A constant this much smaller than the largest may not stand for others: the quotient would magnify rounding."""


class Kept:
    """The sets of channels that stay, and why."""

    def __init__(self, layers: Layers) -> None:
        self.mask = torch.zeros(layers.sets, dtype=torch.bool)
        self.reasons: dict[int, str] = {}
        for channel, reason in layers.pinned.items():
            self.add(channel, reason)

    def add(self, channel: int, reason: str) -> None:
        """Keep a set; the first reason counts."""
        self.mask[channel] = True
        self.reasons.setdefault(channel, reason)

    @classmethod
    def of(cls, layers: Layers) -> Self:
        """The fewest that keep every output: a channel goes if each convolution that would mix it with others knows its constant
        or has zero weights for it, in all filters that stay.
        """
        kept = cls(layers)
        while any(grow(layers.convolutions, kept) for grow in (_needed_by_weights, _needed_at_borders, _needed_to_be_there)):
            pass
        return kept


def dropped_at_borders(layer: Convolution, kept: Kept) -> Tensor:
    """(I,) bool: inputs that go, although the zero-padded layer sees constants other than 0 in them."""
    return _weighted(layer, kept) & ~kept.mask[layer.inputs] & (layer.seen.nan_to_num() != 0) & layer.padded


def representative(layer: Convolution, kept: Kept) -> int | None:
    """The place of the input that stays and carries the constants of those that go: zero padding treats both alike."""
    size = layer.seen.abs().where(_steady(layer) & kept.mask[layer.inputs], 0.0)
    return int(size.argmax()) if size.any() else None


def _needed_by_weights(convolutions: list[Convolution], kept: Kept) -> bool:
    """Keep what is no constant and meets a weight of a filter that stays; whether that is more than before."""
    before = len(kept.reasons)
    for layer in reversed(convolutions):
        for channel in layer.inputs[_weighted(layer, kept) & layer.seen.isnan()].tolist():
            kept.add(channel, TIED)
    return len(kept.reasons) > before


def _needed_at_borders(convolutions: list[Convolution], kept: Kept) -> bool:
    """Keep one more constant channel if a zero-padded layer needs one: that which serves most of such layers."""
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
    """Keep a filter, a zero one if there is any, of each layer that would have none."""
    before = len(kept.reasons)
    for layer in convolutions:
        if not kept.mask[layer.outputs].any():
            kept.add(int(layer.outputs[layer.used.any(1).int().argmin()]), LAST)
    return len(kept.reasons) > before


def _weighted(layer: Convolution, kept: Kept) -> Tensor:
    """(I,) bool: the inputs that a filter that stays has a weight for."""
    return layer.used[kept.mask[layer.outputs]].any(0)


def _steady(layer: Convolution) -> Tensor:
    size = layer.seen.nan_to_num().abs()
    return (size > 0) & (size >= _STEADY * size.max())
