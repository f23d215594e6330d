"""The parameters that a penalty acts on, and the parts of a parameter that are processed at a time."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seglab.stage import ScaleFree

Kind = Literal["weight", "bias", "norm"]
"""`norm`: scale or shift of a norm layer; `bias`: other parameters with at most one dimension; `weight`: all others."""

Steps = Sequence[Tensor] | Sequence[float]
"""One step size per weight: a number, or a tensor of the weight's shape."""


class Weight(NamedTuple):
    """A parameter of a network, with what regularizers need to know about it."""

    tensor: Tensor
    """The parameter itself, any shape."""
    stage: str
    """Name of the stage that holds the parameter."""
    pretrained: bool
    """True if the weight loader filled the parameter."""
    kind: Kind = "weight"
    scale_free: ScaleFree = "unknown"
    transposed: bool = False
    """True if output filters lie along dimension 1, as in a transposed convolution; otherwise along dimension 0."""
    penalized: bool = True
    """True if penalties act on the parameter. `Where` sets this field."""
    anchor: Tensor | None = None
    """Value from which penalties measure the parameter, of its shape; None is 0. `Anchored` sets this field."""


class Part(NamedTuple):
    """Some output filters of a weight."""

    weight: Weight
    filters: slice

    def view(self, tensor: Tensor) -> Tensor:
        """Return the view of these filters, along dimension 0, of a tensor with the weight's shape."""
        if tensor.ndim == 0:
            return tensor
        return (tensor.transpose(0, 1) if self.weight.transposed else tensor)[self.filters]

    def values(self) -> Tensor:
        """Return the filters in full precision, measured from the anchor; a view if that needs no arithmetic."""
        values = full_precision(self.view(self.weight.tensor))
        return values if self.weight.anchor is None else values - self.view(self.weight.anchor)

    def gradient(self) -> Tensor:
        """Return the view of these filters of the weight's gradient.

        Raises:
            ValueError: the weight has no gradient.
        """
        if self.weight.tensor.grad is None:
            raise ValueError("this weight has no gradient")
        return self.view(self.weight.tensor.grad)


def full_precision(weight: Tensor) -> Tensor:
    """Return a weight's values, detached, in float32, or in float64 if the weight is float64."""
    weight = weight.detach()
    return weight if weight.dtype in (torch.float32, torch.float64) else weight.float()


def kinds_of_parameters(network: nn.Module) -> dict[str, Kind]:
    """Return the kind of each parameter, by name. Class tokens and other tensors outside of layers are weights."""
    kinds: dict[str, Kind] = {}
    for path, owner in network.named_modules():
        is_norm = "Norm" in type(owner).__name__ or isinstance(owner, nn.modules.batchnorm._NormBase)
        for name, parameter in owner.named_parameters(recurse=False):
            kinds[f"{path}.{name}".lstrip(".")] = "norm" if is_norm else "weight" if parameter.ndim >= 2 else "bias"
    return kinds


def transposed_weights(network: nn.Module) -> set[str]:
    """Return the names of weights with output filters along dimension 1: transposed, not depthwise, convolutions."""
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return {
        f"{path}.weight".lstrip(".")
        for path, owner in network.named_modules()
        if isinstance(owner, transposed) and not owner.groups == owner.in_channels > 1
    }
