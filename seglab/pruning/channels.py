"""The channels of tensors: which ones are kept or removed together, and which ones hold a known constant."""

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
    """The C numbers of the channels in `Ties`; tensors that share a number share the channel."""
    constant: Tensor
    """(C,) float64: the value of the channel at every pixel of every image; NaN if the value varies or is not known."""


class Ties:
    """A disjoint-set forest of channels.

    The channels of a set are kept or removed together; some sets must stay, for a reason.
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}

    def new(self, count: int) -> list[int]:
        """Add `count` channels, each in a set of its own, and return their numbers."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return self._parent[first:]

    def count(self) -> int:
        """Return the number of channels. The number of every set is below it."""
        return len(self._parent)

    def find(self, channel: int) -> int:
        """Return the number of the channel's set: that of the channel which represents it."""
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def tie(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Merge the set of the i-th channel of `first` with the set of the i-th channel of `second`, for each i."""
        for a, b in zip(first, second, strict=True):
            self._parent[self.find(a)] = self.find(b)

    def sets(self, channels: Sequence[int]) -> Tensor:
        """Return the number of each channel's set, (C,) int64. The numbers are valid until more channels are tied."""
        return torch.tensor([self.find(channel) for channel in channels])

    def pin(self, channels: Iterable[int], reason: str) -> None:
        """Record that these channels must stay, and why. Of several reasons for a channel the first is kept."""
        for channel in channels:
            self._pinned.setdefault(channel, reason)

    def pinned(self) -> dict[int, str]:
        """Return the reason of each set that must stay, by the number of the set."""
        found: dict[int, str] = {}
        for channel, reason in self._pinned.items():
            found.setdefault(self.find(channel), reason)
        return found


def unknown(count: int) -> Tensor:
    """Return the constants (count,) float64 of channels of which nothing is known: all NaN."""
    return torch.full((count,), UNKNOWN, dtype=torch.float64)


def normed(constant: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return the constants (C,) behind a batch norm in eval mode, `scale * x + shift`.

    A scale of 0 makes every channel constant.
    """
    return torch.where(scale == 0, shift, constant * scale + shift)


def convolved(constant: Tensor, weight: Tensor, bias: Tensor | None, *, padded: bool) -> Tensor:
    """Return the constants (O,) after a convolution with `weight` (O,I,kH,kW), from the constants (I,) before it.

    If the convolution is zero-padded, only the constant 0 is preserved: any other constant is cut off at the borders.
    """
    known = ~constant.isnan() & ((constant == 0) | (not padded))
    used = (weight != 0).flatten(2).any(2)
    total = weight.double().sum((2, 3)) @ constant.where(known, 0.0) + (0 if bias is None else bias.double())
    return total.where(~(used & ~known).any(1), UNKNOWN)


def pointwise(node: Node, constants: Sequence[Tensor]) -> Tensor:
    """Return the constants (C,) after an elementwise operation, by running it on the `constants` of the node's inputs.

    The constants of each input are (C,) or (1,). A product with a known 0 is 0, even if the other factor is not known.
    """
    pixels = {source: _typed(constant, source) for source, constant in zip(node.all_input_nodes, constants, strict=True)}
    result = _run(node, pixels).double().flatten()
    lost = reduce(torch.logical_or, (constant.isnan() for constant in constants))
    result = result.where(~lost & result.isfinite(), UNKNOWN)
    if node.target is torch.ops.aten.mul.Tensor:
        result = result.where(~reduce(torch.logical_or, (constant == 0 for constant in constants)), 0.0)
    return result


def _typed(constant: Tensor, source: Node) -> Tensor:
    """Return the constants as (1,C,1,1), in the dtype of the node's result if integer or boolean, else in float64."""
    dtype: torch.dtype = source.meta["val"].dtype
    return constant.view(1, -1, 1, 1).to(torch.float64 if dtype.is_floating_point else dtype)


def _run(node: Node, pixels: dict[Node, Tensor]) -> Tensor:
    def given(argument: Any) -> Any:
        return pixels[argument] if isinstance(argument, Node) else argument

    target: Any = node.target
    result: Tensor = target(*map(given, node.args), **{name: given(value) for name, value in node.kwargs.items()})
    return result


def is_pointwise(node: Node) -> bool:
    """Return whether each element of the result depends only on the same input element, and on no random number."""
    tags = getattr(node.target, "tags", ())
    aten = torch.ops.aten
    untagged = (aten.hardswish.default, aten.log_sigmoid.default)
    return (torch.Tag.pointwise in tags or node.target in untagged) and torch.Tag.nondeterministic_seeded not in tags


def is_spatial(node: Node) -> bool:
    """Return whether each channel of the result depends on the same channel of the first input alone.

    A constant channel must stay constant, except at borders.
    """
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
    """Return the constants (C,) after a spatial operation; NaN where the operation changes the constant.

    For example, padding can change the constant at the border.
    """
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
    """Return the argument of a node at position `place` or with keyword `name`; `default` if the node has neither."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
