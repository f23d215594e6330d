"""Weights whose scale does not change the output of the network, because a norm layer follows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seglab.networks.structure import cached_by_structure
from seglab.networks.tensors import tensors_in
from seglab.stage import ScaleFree

_BATCH_NORM = "NativeBatchNormBackward0"
_NORMS = {_BATCH_NORM, "NativeGroupNormBackward0", "NativeLayerNormBackward0"}
_REORDERS = {"PermuteBackward0", "TransposeBackward0", "CloneBackward0"}
_VIEWS = {"ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0"}
_IMAGES = 2


@cached_by_structure
def scale_free(network: nn.Module) -> dict[str, ScaleFree]:
    """Return the part of each parameter that can be scaled without changing `network`'s output in train mode, by name.

    "filter": each filter (output channel) by itself, for a convolution whose outputs go into batch or instance norms
    and nowhere else. "tensor": the tensor as a whole, for a convolution without bias whose outputs go into norm layers
    and nowhere else, with a group or layer norm among them. "no": all other parameters. "unknown": all parameters, if
    the network does not run on the meta device on images of 224 × 224.
    """
    meta = {name: torch.empty_like(parameter, device="meta", requires_grad=True) for name, parameter in network.named_parameters()}
    buffers = {name: torch.empty_like(buffer, device="meta") for name, buffer in network.named_buffers()}
    channels = next((layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), 3)
    dtype = next((parameter.dtype for parameter in meta.values()), torch.float32)
    image = torch.empty(_IMAGES, channels, 224, 224, dtype=dtype, device="meta")
    try:
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):  # the graph of compiled code is one node
            outputs = list(tensors_in(functional_call(network, {**meta, **buffers}, (image,))))
    except Exception:  # noqa: BLE001 - a network may raise anything on this image or device
        return dict.fromkeys(meta, "unknown")
    consumers, leaves = _graph(outputs)
    return {name: _of(leaves.get(id(parameter)), consumers) for name, parameter in meta.items()}


def _of(leaf: Any, consumers: Mapping[Any, list[Any]]) -> ScaleFree:
    used = consumers.get(leaf, [])
    if not used or any(node is _OUTPUT or node.name() != "ConvolutionBackward0" or node.next_functions[1][0] is not leaf for node in used):
        return "no"
    following = [(convolution, *found) for convolution in used for found in _following(convolution, consumers)]
    if any(node is _OUTPUT or node.name() not in _NORMS for _, node, _ in following):
        return "no"
    if all(not reordered and _is_by_channel(node, convolution) for convolution, node, reordered in following):
        return "filter"
    has_bias = any(node.next_functions[2][0] is not None for node in used)
    return "no" if has_bias else "tensor"


def _is_by_channel(norm: Any, convolution: Any) -> bool:
    """Return whether a norm computes the statistics of each output channel of a convolution separately.

    The statistics may be those of the batch (batch norm) or of each image (instance norm).
    """
    weight = convolution._saved_weight
    channels = weight.shape[1] * convolution._saved_groups if convolution._saved_transposed else weight.shape[0]
    return norm.name() == _BATCH_NORM and norm._saved_input.shape[1] in (channels, channels * _IMAGES)


def _following(node: Any, consumers: Mapping[Any, list[Any]]) -> Iterator[tuple[Any, bool]]:
    """Yield each node that uses the output of `node`, directly or through views and reorderings.

    Each node comes with whether there were reorderings on the way to it.
    """
    for consumer in consumers.get(node, []):
        if consumer is _OUTPUT or consumer.name() not in _REORDERS | _VIEWS:
            yield consumer, False
        else:
            yield from ((found, reordered or consumer.name() in _REORDERS) for found, reordered in _following(consumer, consumers))


_OUTPUT = object()
"""Marker among the consumers of a node whose output is an output of the network."""


def _graph(outputs: Iterable[Tensor]) -> tuple[dict[Any, list[Any]], dict[int, Any]]:
    """Return the consumers of each node of the autograd graph, and each parameter's leaf node by the parameter's id.

    The consumers of a node are the nodes that use its output.
    """
    consumers: dict[Any, list[Any]] = defaultdict(list)
    leaves: dict[int, Any] = {}
    todo, seen = [output.grad_fn for output in outputs if output.grad_fn is not None], set()
    for node in todo:
        consumers[node].append(_OUTPUT)
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
