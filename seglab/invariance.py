"""Which weights have a scale that does not matter, as a norm layer follows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seglab.stage import ScaleFree

_BATCH_NORM = "NativeBatchNormBackward0"
_NORMS = {_BATCH_NORM, "NativeGroupNormBackward0", "NativeLayerNormBackward0"}
_RESHAPES = {"ViewBackward0", "PermuteBackward0", "TransposeBackward0", "CloneBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0"}


def scale_free(network: nn.Module) -> dict[str, ScaleFree]:
    """What of each parameter can be scaled without changing the output of `network` in train mode; by name.

    A convolution whose outputs go into norm layers and nowhere else: each filter (output channel) by itself where these are batch or
    instance norms; the tensor as a whole where a group or layer norm is among them and the convolution has no bias. "no" for all
    other parameters; "unknown" for all where the network does not run on the meta device on an image of 224 × 224.
    """
    meta = {name: torch.empty_like(parameter, device="meta", requires_grad=True) for name, parameter in network.named_parameters()}
    buffers = {name: torch.empty_like(buffer, device="meta") for name, buffer in network.named_buffers()}
    channels = next((parameter.shape[1] for parameter in meta.values() if parameter.ndim == 4), 3)
    try:
        with torch.enable_grad():
            output = functional_call(network, {**meta, **buffers}, (torch.empty(2, channels, 224, 224, device="meta"),))
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
        return dict.fromkeys(meta, "unknown")
    consumers, leaves = _graph(_tensors(output))
    return {name: _of(leaves.get(id(parameter)), consumers) for name, parameter in meta.items()}


def _of(leaf: Any, consumers: Mapping[Any, list[Any]]) -> ScaleFree:
    used = consumers.get(leaf, [])
    if not used or any(node.name() != "ConvolutionBackward0" or node.next_functions[1][0] is not leaf for node in used):
        return "no"
    following = {name for node in used for name in _following(node, consumers)}
    if not following <= _NORMS:
        return "no"
    if following == {_BATCH_NORM}:
        return "filter"
    has_bias = any(node.next_functions[2][0] is not None for node in used)
    return "no" if has_bias else "tensor"


def _following(node: Any, consumers: Mapping[Any, list[Any]]) -> Iterator[str]:
    """The names of the operations that use a node's output, whatever its shape is made into before; "output" for the network's own."""
    following = consumers.get(node, [])
    if not following:
        yield "output"
    for consumer in following:
        if consumer.name() in _RESHAPES:
            yield from _following(consumer, consumers)
        else:
            yield consumer.name()


def _graph(outputs: Iterable[Tensor]) -> tuple[dict[Any, list[Any]], dict[int, Any]]:
    """For each node of the autograd graph those that use its output, and the leaf node of each parameter by its id."""
    consumers: dict[Any, list[Any]] = defaultdict(list)
    leaves: dict[int, Any] = {}
    todo, seen = [output.grad_fn for output in outputs if output.grad_fn is not None], set()
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves[id(node.variable)] = node
        for following, _ in node.next_functions:
            if following is not None:
                consumers[following].append(node)
                todo.append(following)
    return consumers, leaves


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)
