"""Reading the layers of a network, and the input and output channels of each."""

import copy
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm

from seglab.pruning.channels import Channels, Ties, argument, convolved, is_pointwise, is_spatial, lasting, normed, pointwise, unknown


class Convolution(NamedTuple):
    """A convolution that mixes channels."""

    name: str
    """The module's path in the network."""
    inputs: Tensor
    """(I,) int64: the number of each input channel's set."""
    outputs: Tensor
    """(O,) int64: the number of each filter's set."""
    seen: Tensor
    """(I,) float64: the constant of each input channel, NaN if it has none."""
    used: Tensor
    """(O,I) bool: whether the filter has a weight other than 0 for the input channel."""
    padded: bool
    """True if zero padding or the gaps of a transposed convolution reach the output. If so, no bias can replace a
    constant input.
    """


class PerChannel(NamedTuple):
    """A depthwise convolution or a batch norm: output channel i depends on input channel i alone."""

    name: str
    channels: Tensor
    """(C,) int64: the number of each channel's set."""


class Layers(NamedTuple):
    """The layers of a network and the sets of channels that are kept or removed together. Each set has a number."""

    convolutions: list[Convolution]
    per_channel: list[PerChannel]
    pinned: dict[int, str]
    """Reason of each set that must stay whatever the weights are, by the number of the set."""
    sets: int
    """Exclusive upper bound of the numbers of sets."""


def read_layers(network: nn.Module, image: Tensor) -> Layers:
    """Follow the channels through `network` in eval mode, from `image` (N,C,H,W) to the outputs.

    Raises:
        ValueError: if `torch.export` cannot trace the network.
    """
    program = traced(network, image)
    reader = _Reader(network, program)
    for node in program.graph.nodes:
        reader.read(node)
    return reader.layers()


def traced(network: nn.Module, image: Tensor) -> ExportedProgram:
    """Trace the operations of `network` in eval mode, without in-place operations; the network itself is not changed.

    Raises:
        ValueError: if `torch.export` cannot trace the network.
    """
    try:
        with torch.no_grad():
            program: ExportedProgram = torch.export.export(copy.deepcopy(network).eval(), (image,), strict=False)
            functional: ExportedProgram = program.run_decompositions({})
            return functional
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{type(network).__name__} cannot be pruned, because torch.export cannot trace it: {error}") from error


class _Reader:
    """Follows the channels through the operations in their order, from the inputs of the network to its outputs."""

    def __init__(self, network: nn.Module, program: ExportedProgram) -> None:
        self._modules = _Modules(network, program)
        self._ties = Ties()
        self._values: dict[Node, Channels] = {}
        self._drafts: list[Callable[[], Convolution | PerChannel]] = []

    def layers(self) -> Layers:
        """Return the layers that were read; call it after the last `read`, when all ties are known."""
        found = [draft() for draft in self._drafts]
        convolutions = [layer for layer in found if isinstance(layer, Convolution)]
        per_channel = [layer for layer in found if isinstance(layer, PerChannel)]
        return Layers(convolutions, per_channel, self._ties.pinned(), self._ties.count())

    def read(self, node: Node) -> None:
        """Record the channels of the node, if it has any."""
        if node.op == "placeholder" and not self._modules.holds(node):
            self._opaque(node, "the network's input")
        elif node.op == "output":
            self._opaque(node, "the network's output")
        elif node.op == "call_function":
            value = self._channels(node)
            if value is None:
                self._opaque(node, f"used by {getattr(node.target, '__name__', node.target)}")
            else:
                self._values[node] = value

    def _opaque(self, node: Node, reason: str) -> None:
        """Pin all input and output channels of the node: they must stay for this reason."""
        for source in node.all_input_nodes:
            if source in self._values:
                self._ties.pin(self._values[source].ids, reason)
        result = node.meta.get("val")
        if isinstance(result, Tensor) and result.ndim == 4:
            ids = self._ties.new(result.shape[1])
            self._ties.pin(ids, reason)
            self._values[node] = Channels(ids, unknown(len(ids)))

    def _channels(self, node: Node) -> Channels | None:
        """Return the channels of the node's result; None if pruning cannot follow channels through the operation."""
        sources = node.all_input_nodes
        known = [self._values[source] for source in sources if source in self._values]
        if not known or sources[0] not in self._values:
            return None
        aten = torch.ops.aten
        if node.target in (aten.conv2d.default, aten.conv2d.padding, aten.conv_transpose2d.input):
            return self._convolution(node, known[0])
        if node.target is aten._native_batch_norm_legit_no_training.default:
            return self._norm(node, known[0])
        if node.target is operator.getitem:  # of batch norm: no other operation with several results is followed
            return known[0] if node.args[1] == 0 else None
        return self._without_weights(node, known) if len(known) == len(sources) else None

    def _without_weights(self, node: Node, known: Sequence[Channels]) -> Channels | None:
        if is_spatial(node):
            return Channels(known[0].ids, lasting(node, known[0].constant))
        if is_pointwise(node):
            return self._pointwise(node, known)
        if node.target is torch.ops.aten.cat.default and argument(node, 1, "dim", 0) in (1, -3):
            return self._cat(node)
        return None

    def _pointwise(self, node: Node, values: Sequence[Channels]) -> Channels:
        """Tie the channels that the operation combines.

        Pin a channel that is broadcast to many, as in spatial attention.
        """
        widest = max((value.ids for value in values), key=len)
        for value in values:
            if len(value.ids) == len(widest):
                self._ties.tie(value.ids, widest)
            else:
                self._ties.pin(value.ids, "it meets several channels")
        return Channels(widest, pointwise(node, [value.constant for value in values]))

    def _cat(self, node: Node) -> Channels:
        tensors: Any = node.args[0]
        values = [self._values[source] for source in tensors]
        return Channels([channel for value in values for channel in value.ids], torch.cat([value.constant for value in values]))

    def _norm(self, node: Node, before: Channels) -> Channels | None:
        name = self._modules.owner(node.all_input_nodes[1:], _BatchNorm)
        if name is None:
            return None
        self._drafts.append(lambda: PerChannel(name, self._ties.sets(before.ids)))
        module = self._modules.module(name)
        weight, bias, mean, var = map(_detached, (module.weight, module.bias, module.running_mean, module.running_var))
        scale = (var.double() + module.eps).rsqrt() * (1 if weight is None else weight.double())
        shift = (0 if bias is None else bias.double()) - mean.double() * scale
        return Channels(before.ids, normed(before.constant, scale, shift))

    def _convolution(self, node: Node, before: Channels) -> Channels | None:
        name = self._modules.owner(node.all_input_nodes[1:], nn.Conv2d | nn.ConvTranspose2d)
        if name is None:
            return None
        module = self._modules.module(name)
        weight, bias = _detached(module.weight), _detached(module.bias)
        if isinstance(module, nn.ConvTranspose2d):
            return self._mixing(name, before, weight.transpose(0, 1), bias, padded=True) if module.groups == 1 else None
        if module.groups == 1:
            return self._mixing(name, before, weight, bias, padded=_is_padded(node))
        if module.groups == module.in_channels == module.out_channels:
            return self._depthwise(name, before, weight, bias, padded=_is_padded(node))
        return None

    def _mixing(self, name: str, before: Channels, weight: Tensor, bias: Tensor | None, *, padded: bool) -> Channels:
        outputs, used = self._ties.new(len(weight)), (weight != 0).flatten(2).any(2)
        sets = self._ties.sets
        self._drafts.append(lambda: Convolution(name, sets(before.ids), sets(outputs), before.constant, used, padded))
        return Channels(outputs, convolved(before.constant, weight, bias, padded=padded))

    def _depthwise(self, name: str, before: Channels, weight: Tensor, bias: Tensor | None, *, padded: bool) -> Channels:
        self._drafts.append(lambda: PerChannel(name, self._ties.sets(before.ids)))
        alone = zip(before.constant[:, None], weight[:, None], strict=True)
        single = [convolved(seen, kernel, None, padded=padded) for seen, kernel in alone]
        return Channels(before.ids, torch.cat(single) + (0 if bias is None else bias))


class _Modules:
    """The modules of a network, by the weights that an operation uses."""

    def __init__(self, network: nn.Module, program: ExportedProgram) -> None:
        self._network = network
        signature = program.graph_signature
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
        uses = Counter(id(tensor) for _, tensor in tensors)
        self._shared = {name for name, tensor in tensors if uses[id(tensor)] > 1}

    def holds(self, node: Node) -> bool:
        """Return whether a placeholder is a parameter or buffer."""
        return node.name in self._names

    def module(self, path: str) -> Any:
        return self._network.get_submodule(path)

    def owner(self, tensors: Sequence[Node], kind: Any) -> str | None:
        """Return the path of the module of type `kind` that holds these tensors as its weights and buffers.

        Return None if a tensor is computed from others, is used by several operations, or is shared with another
        module.
        """
        names = [self._names.get(node.name, "") for node in tensors]
        paths = {name.rpartition(".")[0] for name in names}
        own = {name.rpartition(".")[2] for name in names} <= {"weight", "bias", "running_mean", "running_var"}
        if len(paths) > 1 or not own or self._shared & set(names) or any(len(node.users) > 1 for node in tensors):
            return None
        path = paths.pop()
        return path if isinstance(self.module(path), kind) else None


def _detached(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu()


def _is_padded(node: Node) -> bool:
    """Return whether a convolution's zero padding can reach its output."""
    padding = argument(node, 4, "padding", [0])
    if isinstance(padding, str):
        return padding == "same" and any(size > 1 for size in argument(node, 1, "weight", None).meta["val"].shape[2:])
    return any(padding)
