"""The stages of a network, shallow to deep, found without knowledge of its encoder."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seglab.networks.structure import cached_by_structure
from seglab.networks.tensors import tensors_in
from seglab.stage import Stage

_PARTS: dict[str, Literal["encoder", "decoder", "head"]] = {"encoder": "encoder", "decoder": "decoder", "head": "head"}


class Stages(NamedTuple):
    """The parameters and modules of each stage, with stages in order of depth."""

    stages: dict[Stage, list[str]]
    """Names of the parameters by stage. Each parameter is in one stage or in `unreachable`."""
    unreachable: list[str]
    """Names of the parameters that no output depends on. They never get a gradient, and DDP fails on them unless they
    are frozen.
    """
    modules: dict[Stage, list[str]]
    """Paths of the modules that lie within one stage, with their children, by stage.

    Dropout, drop-path and activation modules between them are included. Call `eval()` on each module to freeze the
    statistics and randomness of the stage. A container of several stages is in no stage. Paths are kept in place of
    modules, because modules may be replaced later (by synchronised batch norms).
    """


@cached_by_structure
def stages(network: nn.Module) -> Stages:
    """Find the stages of a network by reachability, without knowledge of its encoder.

    A parameter belongs to the shallowest of the encoder's feature maps that depends on it. The network runs on the meta
    device with meta parameters, so nothing is computed, copied or changed. A module without `encoder`, `decoder` and
    `segmentation_head` is one stage `network` of part "decoder", so schedules that freeze encoders train all of it.

    Raises:
        ValueError: if the network cannot run on the meta device.
    """
    if not all(isinstance(getattr(network, part, None), nn.Module) for part in ("encoder", "decoder", "segmentation_head")):
        whole = {Stage("network", 0, 0, "decoder"): [name for name, _ in network.named_parameters()]}
        return Stages(whole, [], _modules(network, whole))
    features, outputs = _dependencies(network)
    groups = _groups(network, features, outputs)
    top = len(groups) - 1
    found = {Stage(name, depth, top - depth, _PARTS[name.partition(".")[0]]): names for depth, (name, names) in enumerate(groups.items())}
    unreachable = [name for name, _ in network.named_parameters() if name not in outputs]
    return Stages(found, unreachable, _modules(network, found))


def in_channels(network: nn.Module) -> int:
    """Return the number of channels of a network's images.

    For an SMP network this is the number in its configuration. For other modules this is a guess: the number of
    channels of the first filters, which is too small if the first convolution has groups.
    """
    config: Mapping[str, Any] = getattr(network, "_hub_mixin_config", None) or {}
    first = next((p.shape[1] for p in network.parameters() if p.ndim == 4), 3)
    return int(config.get("in_channels", first))


def sizes(network: nn.Module) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the height and width of the logits of a network, and of the image that they belong to, on the meta device.

    Raises:
        ValueError: if the network cannot run on the meta device.
    """
    tensors = {name: torch.empty_like(tensor, device="meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    image, logits, _ = _run(network, tensors)
    (rows, columns), (height, width) = next(tensors_in(logits)).shape[-2:], image.shape[-2:]
    return (rows, columns), (height, width)


def _dependencies(network: nn.Module) -> tuple[list[set[str]], set[str]]:
    """Return the parameters new in each feature map of the encoder, and all parameters that the outputs depend on."""
    meta = {name: torch.empty_like(p, device="meta", requires_grad=True) for name, p in network.named_parameters()}
    buffers = {name: torch.empty_like(b, device="meta") for name, b in network.named_buffers()}
    image, outputs, features = _run(network, meta | buffers)
    if not features:  # the network does not call its encoder as a module
        own = {name.removeprefix("encoder."): tensor for name, tensor in (meta | buffers).items() if name.startswith("encoder.")}
        with torch.enable_grad():
            features = _graphs(functional_call(network.get_submodule("encoder"), own, (image,)))
    names = {id(p): name for name, p in meta.items()}
    seen: set[Any] = set()
    return [{names[i] for i in _leaves([f], seen)} for f in features], {names[i] for i in _leaves(_graphs(outputs), set())}


def _run(network: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[Tensor, object, list[Any]]:
    """Run a network with meta `tensors` as parameters and buffers.

    Return an image, the outputs, and the graphs of the feature maps.

    The graphs are those of the first call of the encoder, taken before a decoder can change a feature map in place.
    There are none if the network does not call its encoder as a module.

    Raises:
        ValueError: if the network runs with none of the image sizes in `_sides`.
    """
    failed: Exception | None = None
    for side in _sides(network):
        image = torch.empty(2, in_channels(network), side, side, device="meta")
        calls: list[list[Any]] = []
        hook = network.get_submodule("encoder").register_forward_hook(_noted(calls))
        try:
            with torch.enable_grad():
                outputs = functional_call(network, dict(tensors), (image,))
            return image, outputs, calls[0] if calls else []
        except (RuntimeError, AssertionError) as error:
            failed = failed or error
        finally:
            hook.remove()
    raise ValueError(f"{type(network).__name__} does not run on the meta device, so its stages cannot be found: {failed}") from failed


def _sides(network: nn.Module) -> Iterator[int]:
    """Yield sides of images to try: 224, then 256, then the side that a timm encoder was made for.

    224 also suits patches of 14 and windows of 7. PAN at an output stride of 32 needs at least 256. A timm encoder of a
    fixed size may accept only its own side.
    """
    yield from (224, 256)
    for module in network.get_submodule("encoder").modules():
        config = getattr(module, "pretrained_cfg", None)
        if isinstance(config, Mapping) and "input_size" in config:
            yield int(config["input_size"][-1])
            return


def _groups(network: nn.Module, features: list[set[str]], outputs: set[str]) -> dict[str, list[str]]:
    """Return the names of parameters by name of stage, in order of depth.

    Parameters that the outputs do not depend on are left out.
    """
    rest = outputs.difference(*features)
    decoder = {name for name in rest if name.startswith("decoder.")}
    past_features = {name for name in rest if name.startswith("encoder.")}
    maps = [kept for names in [*features, past_features] if (kept := names & outputs)]
    groups = {f"encoder.{depth}": names for depth, names in enumerate(maps)} | {"decoder": decoder, "head": rest - decoder - past_features}
    order = [name for name, _ in network.named_parameters()]
    return {stage: [name for name in order if name in names] for stage, names in groups.items() if names}


def _noted(calls: list[list[Any]]) -> Callable[[nn.Module, Any, object], None]:
    """Return a forward hook that appends the graphs of a module's outputs to `calls`."""
    return lambda _module, _inputs, outputs: calls.append(_graphs(outputs))


def _graphs(value: object) -> list[Any]:
    """Return the node of the autograd graph that made each tensor in `value`; None for a tensor that needs no
    gradient.
    """
    return [tensor.grad_fn for tensor in tensors_in(value)]


def _leaves(roots: Iterable[Any], seen: set[Any]) -> list[int]:
    """Return the ids of the leaf tensors that the nodes `roots` depend on.

    The search walks over the autograd graph, as DDP does. It skips nodes in `seen`, and adds each visited node to
    `seen`.
    """
    found, todo = [], list(roots)
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(id(node.variable))
        todo.extend(following for following, _ in node.next_functions)
    return found


def _modules(network: nn.Module, stages: Mapping[Stage, list[str]]) -> dict[Stage, list[str]]:
    """Return the paths of modules by stage.

    A module without parameters belongs to the deepest stage of the sibling before it. If it is the first child, it
    belongs to the shallowest stage of its parent.
    """
    within = _stages_within(stages)
    before: dict[str, Stage] = {}
    found: dict[Stage, list[str]] = {stage: [] for stage in stages}
    for path, _ in network.named_modules():
        parent = path.rpartition(".")[0]
        if path not in within:
            within[path] = {before.get(parent) or min(within[parent], key=_depth)}
        if len(within[path]) == 1:
            found[next(iter(within[path]))].append(path)
        if path:
            before[parent] = max(within[path], key=_depth)
    return found


def _stages_within(stages: Mapping[Stage, list[str]]) -> dict[str, set[Stage]]:
    """Return the stages of the parameters below each module that has parameters, by the path of the module.

    The path of the network is the empty string.
    """
    within: defaultdict[str, set[Stage]] = defaultdict(set, {"": set(stages)})
    for stage, names in stages.items():
        for name in names:
            path = name
            while path := path.rpartition(".")[0]:
                within[path].add(stage)
    return dict(within)


def _depth(stage: Stage) -> int:
    return stage.depth
