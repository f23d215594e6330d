"""The channels of tensors: which must stay or go together, and which hold one known number at every pixel of every image."""

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Node

UNKNOWN = math.nan


class Channels(NamedTuple):
    """The channels of one tensor (N,C,H,W)."""

    ids: list[int]
    """C numbers in `Ties`, by which channels are the same."""
    constant: Tensor
    """(C,) float64: what the channel holds at every pixel of every image; NaN where that differs or is not known."""


class Ties:
    """Channels that can only stay or go together, as sets that are merged, and why some sets must stay."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}

    def new(self, count: int) -> list[int]:
        """`count` channels that no other is tied to."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return self._parent[first:]

    def count(self) -> int:
        """Of channels; the numbers of sets are below it."""
        return len(self._parent)

    def find(self, channel: int) -> int:
        """The number that stands for the channel's set."""
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def tie(self, first: Sequence[int], second: Sequence[int]) -> None:
        """The i-th of `first` stays or goes with the i-th of `second`."""
        for a, b in zip(first, second, strict=True):
            self._parent[self.find(a)] = self.find(b)

    def sets(self, channels: Sequence[int]) -> Tensor:
        """(C,) int64: the sets that these channels are in, as long as no more are tied."""
        return torch.tensor([self.find(channel) for channel in channels])

    def pin(self, channels: Iterable[int], reason: str) -> None:
        """These stay; of several reasons the first is kept."""
        for channel in channels:
            self._pinned.setdefault(channel, reason)

    def pinned(self) -> dict[int, str]:
        """The sets that must stay, by the numbers that stand for them, and why."""
        found: dict[int, str] = {}
        for channel, reason in self._pinned.items():
            found.setdefault(self.find(channel), reason)
        return found


def unknown(count: int) -> Tensor:
    """(count,) float64: nothing is known of these channels."""
    return torch.full((count,), UNKNOWN, dtype=torch.float64)


def normed(constant: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(C,) constants behind a batch norm in eval mode, `scale * x + shift`; a scale of 0 makes a constant of any channel."""
    return torch.where(scale == 0, shift, constant * scale + shift)


def convolved(constant: Tensor, weight: Tensor, bias: Tensor | None, *, padded: bool) -> Tensor:
    """(O,) constants behind a convolution with `weight` (O,I,kH,kW), from the constants (I,) before it.

    Zero padding keeps the constant 0 alone: any other is cut off at the borders.
    """
    known = ~constant.isnan() & ((constant == 0) | (not padded))
    used = (weight != 0).flatten(2).any(2)
    total = weight.double().sum((2, 3)) @ constant.where(known, 0.0) + (0 if bias is None else bias.double())
    return total.where(~(used & ~known).any(1), UNKNOWN)


def pointwise(node: Node, constants: Sequence[Tensor]) -> Tensor:
    """(C,) constants behind an operation on each element by itself: the operation itself, on the `constants` of the node's inputs.

    Each of these is (C,) or (1,). An unknown factor of a known 0 does not matter.
    """
    pixels = {source: _typed(constant, source) for source, constant in zip(node.all_input_nodes, constants, strict=True)}
    result = _run(node, pixels).double().flatten()
    lost = reduce(torch.logical_or, (constant.isnan() for constant in constants))
    result = result.where(~lost & result.isfinite(), UNKNOWN)
    if node.target is torch.ops.aten.mul.Tensor:
        result = result.where(~reduce(torch.logical_or, (constant == 0 for constant in constants)), 0.0)
    return result


def _typed(constant: Tensor, source: Node) -> Tensor:
    """(1,C,1,1) in the dtype of the node's result, if that is of integers or booleans."""
    dtype: torch.dtype = source.meta["val"].dtype
    return constant.view(1, -1, 1, 1).to(torch.float64 if dtype.is_floating_point else dtype)


def _run(node: Node, pixels: dict[Node, Tensor]) -> Tensor:
    def given(argument: Any) -> Any:
        return pixels[argument] if isinstance(argument, Node) else argument

    target: Any = node.target
    result: Tensor = target(*map(given, node.args), **{name: given(value) for name, value in node.kwargs.items()})
    return result


def is_pointwise(node: Node) -> bool:
    """Return whether each element of the result depends on that element of the inputs alone, and on no random number."""
    tags = getattr(node.target, "tags", ())
    aten = torch.ops.aten
    untagged = (aten.hardswish.default, aten.log_sigmoid.default)
    return (torch.Tag.pointwise in tags or node.target in untagged) and torch.Tag.nondeterministic_seeded not in tags


def is_spatial(node: Node) -> bool:
    """Return whether each channel of the result depends on that channel of the first input alone, a constant staying what it is inside."""
    aten = torch.ops.aten
    if node.target in (aten.pad.default, aten.constant_pad_nd.default):
        return len(argument(node, 1, "pad", [])) <= 4
    if node.target in (aten.mean.dim, aten.amax.default):
        axes = argument(node, 1, "dim", None)
        return bool(axes) and {axis % 4 for axis in axes} <= {2, 3} and bool(argument(node, 2, "keepdim", False))
    if node.target is aten.slice.Tensor:
        return argument(node, 1, "dim", 0) % 4 in (2, 3)
    return node.target in (
        aten.clone.default,
        aten.alias.default,
        aten.contiguous.default,
        aten.dropout.default,
        aten.max_pool2d.default,
        aten.avg_pool2d.default,
        aten.adaptive_avg_pool2d.default,
        aten.upsample_nearest2d.vec,
        aten._upsample_nearest_exact2d.vec,
        aten.upsample_bilinear2d.vec,
        aten.upsample_bicubic2d.vec,
    )


def lasting(node: Node, constant: Tensor) -> Tensor:
    """(C,) constants behind a spatial operation: those that zeros or other numbers at the border do not change."""
    aten = torch.ops.aten
    if node.target is aten.avg_pool2d.default:
        padded = any(argument(node, 3, "padding", [0])) and argument(node, 5, "count_include_pad", True)
        if padded or argument(node, 6, "divisor_override", None) is not None:
            return constant.where(constant == 0, UNKNOWN)
    if node.target in (aten.pad.default, aten.constant_pad_nd.default) and _pad_mode(node) == "constant":
        value = argument(node, 3 if node.target is aten.pad.default else 2, "value", None)
        return constant.where(constant == (0.0 if value is None else float(value)), UNKNOWN)
    return constant


def _pad_mode(node: Node) -> str:
    return str(argument(node, 2, "mode", "constant")) if node.target is torch.ops.aten.pad.default else "constant"


def argument(node: Node, place: int, name: str, default: Any) -> Any:
    """An argument of a node, given by place, by name, or not at all."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
