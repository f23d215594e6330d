"""Removing zero filters from a network."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seglab.pruning.layers import Convolution, Layers, read_layers
from seglab.pruning.liveness import Kept, dropped_at_borders, representative

OPAQUE = "in a convolution that is grouped, shared or has computed weights"


@dataclass(frozen=True)
class Cost:
    """Size and computation of a network."""

    parameters: int
    flops: int
    """Floating-point operations of a forward pass as `torch.utils.flop_counter` counts them: a multiply-add is two."""
    filters: int
    """Output channels of all 2-D convolutions, transposed ones too."""


@dataclass(frozen=True)
class Report:
    """The result of pruning: costs before and after, and the numbers of zero filters."""

    before: Cost
    after: Cost
    zero: int
    """Number of filters whose weights are all exactly zero, before pruning."""
    kept: Mapping[str, int]
    """Number of zero filters that had to stay, by reason."""

    @property
    def removed(self) -> int:
        """Return the number of removed filters: zero filters, and filters whose output no other weight used."""
        return self.before.filters - self.after.filters


def prune(network: nn.Module, image: Tensor) -> nn.Module:
    """Return a smaller network with the same outputs in eval mode, without the filters that are exactly zero.

    The output of a zero filter is a constant: its bias after batch norm and activation. The constant is added to the
    bias of the convolutions that read it. If zero padding cuts off the constant at the borders, one constant channel
    stays and carries the constants of all others. So the outputs agree to rounding, borders included, for images of
    every size on which the network runs the same operations. Filters whose output is read by zero weights only, and
    filters that a batch norm scales by 0, are removed as well.

    These stay:

    - filters that a residual sum or a gate ties to filters that are not zero;
    - filters whose output is read by an operation through which channels are not followed: a group norm, linear layer,
      attention, reshaping and others;
    - grouped convolutions that are not depthwise, and shared modules.

    Args:
        network: any `nn.Module` that `torch.export` can trace; it is not changed. The modules of the result are copies
            of the same classes and names. `Conv2d`, `ConvTranspose2d` and `BatchNorm2d` have fewer channels.
        image: (N,C,H,W) float, of a size that the network takes; its values do not matter.

    Raises:
        ValueError: if the network does not run on the image, or cannot be traced.
    """
    return prune_with_report(network, image)[0]


def prune_with_report(network: nn.Module, image: Tensor) -> tuple[nn.Module, Report]:
    """Prune as `prune` does, and return the report too. Its FLOPs are for a forward pass of `image`."""
    before = cost(network, image)
    layers = read_layers(network, image)
    kept = Kept.of(layers)
    smaller = copy.deepcopy(network)
    for layer in layers.convolutions:
        _cut_convolution(smaller.get_submodule(layer.name), layer, kept)
    for single in layers.per_channel:
        _cut_per_channel(smaller.get_submodule(single.name), kept.mask[single.channels])
    zero = sum(int(_zero_filters(module).sum()) for _, module in _convolutions(network))
    return smaller, Report(before, cost(smaller, image), zero, _reasons(network, layers, kept))


def cost(network: nn.Module, image: Tensor) -> Cost:
    """Count the parameters and filters of the network, and the FLOPs of a forward pass of `image` (N,C,H,W).

    Raises:
        ValueError: if the network does not run on the image.
    """
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            copy.deepcopy(network).eval()(image)
    except (RuntimeError, AssertionError) as error:
        what = f"{type(network).__name__} does not run on an image of shape {tuple(image.shape)}"
        raise ValueError(f"{what}; give one of a size, dtype and device that it takes: {error}") from error
    filters = sum(module.out_channels for _, module in _convolutions(network))
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops(), filters)


def _cut_convolution(module: Any, layer: Convolution, kept: Kept) -> None:
    """Fold the constants of the removed inputs into weights or bias, then remove filters and inputs from the module."""
    rows, columns = kept.mask[layer.outputs], kept.mask[layer.inputs]
    if rows.all() and columns.all():
        return
    filters_first = not isinstance(module, nn.ConvTranspose2d)
    weight = module.weight.detach().double()
    weight = (weight if filters_first else weight.transpose(0, 1)).cpu()[rows]
    weight, shift = _folded(weight, layer, kept)
    weight = weight[:, columns]
    if shift.any() or module.bias is not None:
        bias = shift.new_zeros(len(rows)) if module.bias is None else module.bias.detach().double().cpu()
        module.bias = _like(module.weight, bias[rows] + shift)
    module.weight = _like(module.weight, weight if filters_first else weight.transpose(0, 1))
    module.out_channels, module.in_channels = int(rows.sum()), int(columns.sum())


def _folded(weight: Tensor, layer: Convolution, kept: Kept) -> tuple[Tensor, Tensor]:
    """Return weights (O,I,kH,kW) and the bias correction (O,) that make up for removed inputs j with constants c_j.

    Without padding, Σ_j c_j Σ w_j is added to the bias. With zero padding, w_r + Σ_j (c_j / c_r) w_j replaces the
    weight w_r of a kept input r with the constant c_r.
    """
    constant = layer.seen.nan_to_num().where(~kept.mask[layer.inputs], 0.0)
    if not layer.padded:
        return weight, weight.sum((2, 3)) @ constant
    place = representative(layer, kept)
    if place is not None and bool(dropped_at_borders(layer, kept).any()):
        weight = weight.clone()
        weight[:, place] += torch.einsum("oihw,i->ohw", weight, constant / layer.seen[place])
    return weight, weight.new_zeros(len(weight))


def _cut_per_channel(module: Any, rows: Tensor) -> None:
    """Keep only the channels `rows` (C,) bool of a batch norm or depthwise convolution."""
    for name in ("weight", "bias"):
        if getattr(module, name) is not None:
            setattr(module, name, _like(getattr(module, name), getattr(module, name).detach()[rows]))
    if isinstance(module, nn.Conv2d):
        module.in_channels = module.out_channels = module.groups = int(rows.sum())
    else:
        module.running_mean, module.running_var = module.running_mean[rows], module.running_var[rows]
        module.num_features = int(rows.sum())


def _like(parameter: nn.Parameter, values: Tensor) -> nn.Parameter:
    """Return a parameter with these values, and with the dtype, device and gradient flag of `parameter`."""
    return nn.Parameter(values.to(parameter).contiguous(), requires_grad=parameter.requires_grad)


def _convolutions(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.ConvTranspose2d]]:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            yield name, module


def _zero_filters(module: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Return which filters have only weights that are exactly zero: (O,) bool."""
    weight = module.weight.detach()
    if isinstance(module, nn.ConvTranspose2d):  # (I, O / groups, kH, kW)
        weight = weight.reshape(module.groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    return ~weight.flatten(1).any(1)


def _reasons(network: nn.Module, layers: Layers, kept: Kept) -> dict[str, int]:
    """Count the zero filters that stay, by reason."""
    sets = {**{layer.name: layer.outputs for layer in layers.convolutions}, **{layer.name: layer.channels for layer in layers.per_channel}}
    found: Counter[str] = Counter()
    for name, module in _convolutions(network):
        zero = _zero_filters(module).cpu()
        if name not in sets:
            found[OPAQUE] += int(zero.sum())
        else:
            found.update(kept.reasons[channel] for channel in sets[name][zero].tolist() if kept.mask[channel])
    return dict(+found)
