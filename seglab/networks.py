"""Networks of segmentation-models-pytorch (SMP), their pretrained encoders, and the stages in which they are fine-tuned.

SMP and timm are imported where a network is built: `--help` must not wait for them.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from seglab.stage import Stage

_FILES = (".pt", ".pth", ".safetensors")
_PARTS: dict[str, Literal["encoder", "decoder", "head"]] = {"encoder": "encoder", "decoder": "decoder", "head": "head"}


def network(
    architecture: str = "Unet", encoder: str = "resnet18", *, num_classes: int, weights: str | Path | None = None, in_channels: int = 3
) -> nn.Module:
    """Build any SMP network: images (N,in_channels,H,W) float → logits (N,num_classes,H,W).

    Args:
        architecture: an SMP class, such as `Unet`, `FPN` or `DeepLabV3Plus`.
        encoder: an SMP encoder (`resnet18`, `mit_b0`, …), or `tu-` and a timm model (`tu-convnext_atto`).
        num_classes: the number of logits per pixel.
        weights: where the encoder's weights come from. `None`: from scratch. A `.pt`, `.pth` or `.safetensors` file: a state dict
            with torchvision's or timm's names, of any floating dtype; its classifier is not used. Any other word is the name of
            weights on the hub, such as "imagenet".
        in_channels: of the images. A pretrained first layer is repeated over channels and scaled, as SMP and timm do.

    Returns:
        The network, in train mode; `pretrained_parameters` tells what was loaded.

    Raises:
        ValueError: for an unknown architecture or encoder, weights that do not exist, do not fit or cannot be downloaded, or an
            encoder that the architecture cannot use.
    """
    architectures = _architectures()
    if architecture not in architectures:
        raise ValueError(f"there is no architecture {architecture!r}{_close(architecture, architectures)}. All: {', '.join(architectures)}")
    _check_encoder(encoder)
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}")
    file = None if weights is None or Path(weights).suffix not in _FILES else Path(weights)
    hub = None if weights is None or file is not None else _hub_weights(encoder, str(weights))
    try:
        built = architectures[architecture](encoder_name=encoder, encoder_weights=hub, in_channels=in_channels, classes=num_classes)
    except OSError as error:
        raise ValueError(
            f"the weights {str(weights)!r} of {encoder!r} are neither on this machine nor could they be downloaded. Build this network "
            "once where there is a network, which fills ~/.cache/huggingface ($HF_HOME), and copy that folder; or give a file as weights"
        ) from error
    if file is not None:
        _load_encoder(built.get_submodule("encoder"), file, encoder)
    if weights is not None:
        built.pretrained = frozenset(name for name, _ in built.named_parameters() if name.startswith("encoder."))  # type: ignore[assignment]
    return built


def unet(encoder: str, num_classes: int, weights: str | Path | None = None) -> nn.Module:
    """Build a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) on an encoder; the arguments and errors are those of `network`."""
    return network("Unet", encoder, num_classes=num_classes, weights=weights)


def pretrained_parameters(network: nn.Module) -> frozenset[str]:
    """Give the names of the parameters that `network` loaded from pretrained weights; empty from scratch, and for other modules."""
    names: frozenset[str] = getattr(network, "pretrained", frozenset())
    return names


def description(network: nn.Module) -> dict[str, Any]:
    """Identify a network in plain JSON data.

    An SMP network is its class and configuration, without the weights' origin, and can be rebuilt from it. Any other module is its
    class path and the SHA-256 of its repr, which tells whether it is the same, and no more.
    """
    cls = type(network)
    if cls in _architectures().values():
        config = {**network._hub_mixin_config, "encoder_weights": None}  # type: ignore[dict-item]
        return {"class": f"segmentation_models_pytorch.{cls.__name__}", "config": json.loads(json.dumps(config))}
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "repr_sha256": hashlib.sha256(repr(network).encode()).hexdigest()}


def size_divisor(network: nn.Module) -> int:
    """Give the number that must divide the height and width of the images; 1 if any size works, and for modules that are not SMP's."""
    if not getattr(network, "requires_divisible_input_shape", False):
        return 1
    return int(network.get_submodule("encoder").output_stride)  # type: ignore[arg-type]


class Stages(NamedTuple):
    """What belongs to which stage; stages in order of depth."""

    stages: dict[Stage, list[str]]
    """Names of the parameters: each is in one stage or in `unreachable`."""
    unreachable: list[str]
    """Names of the parameters that no output depends on: they never get a gradient, and DDP fails on them unless they are frozen."""
    modules: dict[Stage, list[str]]
    """The paths of the modules that lie within one stage, with their children, and of the dropout, drop-path and activation between
    them: call `eval()` on each to freeze the stage's statistics and randomness. A container of several stages is in none. Paths, as
    modules may be replaced later (by synchronised batch norms)."""


def stages(network: nn.Module) -> Stages:
    """Find the stages of a network by reachability, without knowing its encoder.

    A parameter belongs to the shallowest of the encoder's feature maps that depends on it. The network runs on the meta device with
    meta parameters: nothing is computed, copied or changed. A module without `encoder`, `decoder` and `segmentation_head` is one
    stage `network` of part "decoder": schedules that freeze encoders train all of it.

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


def _dependencies(network: nn.Module) -> tuple[list[set[str]], set[str]]:
    """The parameters that are new in each feature map of the encoder, and all parameters that the outputs depend on."""
    meta = {name: torch.empty_like(p, device="meta", requires_grad=True) for name, p in network.named_parameters()}
    buffers = {name: torch.empty_like(b, device="meta") for name, b in network.named_buffers()}
    everything = {**meta, **buffers}
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in everything.items() if name.startswith("encoder.")}
    channels = next((p.shape[1] for p in network.parameters() if p.ndim == 4), 3)
    image = torch.empty(2, channels, 224, 224, device="meta")  # 224 also suits patches of 14 and windows of 7
    try:
        with torch.enable_grad():
            features = functional_call(network.get_submodule("encoder"), encoder, (image,))
            outputs = functional_call(network, everything, (image,))
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{type(network).__name__} does not run on the meta device, so its stages cannot be found: {error}") from error
    names = {id(p): name for name, p in meta.items()}
    seen: set[Any] = set()
    return [{names[i] for i in _leaves([f], seen)} for f in _tensors(features)], {names[i] for i in _leaves(_tensors(outputs), set())}


def _groups(network: nn.Module, features: list[set[str]], outputs: set[str]) -> dict[str, list[str]]:
    """Names of parameters by name of stage, in order of depth; what the outputs do not depend on is left out."""
    rest = outputs.difference(*features)
    decoder = {name for name in rest if name.startswith("decoder.")}
    past_features = {name for name in rest if name.startswith("encoder.")}
    maps = [kept for names in [*features, past_features] if (kept := names & outputs)]
    groups = {f"encoder.{depth}": names for depth, names in enumerate(maps)} | {"decoder": decoder, "head": rest - decoder - past_features}
    order = [name for name, _ in network.named_parameters()]
    return {stage: [name for name in order if name in names] for stage, names in groups.items() if names}


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


def _leaves(roots: Iterable[Tensor], seen: set[Any]) -> list[int]:
    """The ids of the leaf tensors that `roots` depend on, found as DDP finds them: by a walk over the graph, past nodes `seen` before."""
    found, todo = [], [root.grad_fn for root in roots]
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
    """Modules by stage. One without parameters goes with the sibling before it, or as the first child with its parent's shallowest."""
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
    """The stages of the parameters below each module that has any, by path; the network's path is the empty string."""
    within: defaultdict[str, set[Stage]] = defaultdict(set, {"": set(stages)})
    for stage, names in stages.items():
        for name in names:
            path = name
            while path := path.rpartition(".")[0]:
                within[path].add(stage)
    return dict(within)


def _depth(stage: Stage) -> int:
    return stage.depth


@cache
def _architectures() -> dict[str, type[nn.Module]]:
    """SMP's, by the names of their classes."""
    import segmentation_models_pytorch as smp

    return {cls.__name__: cls for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()}


def _check_encoder(encoder: str) -> None:
    import segmentation_models_pytorch as smp
    import timm

    if encoder in smp.encoders.get_encoder_names() or timm.is_model(_timm_name(encoder)):
        return
    close = _close(encoder, [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())])
    raise ValueError(
        f"there is no encoder {encoder!r}{close}. All: "
        "segmentation_models_pytorch.encoders.get_encoder_names(), and 'tu-' before any of timm.list_models()"
    )


def _timm_name(encoder: str) -> str:
    """The timm model behind `tu-…`, and behind those `timm-…` that SMP passes on to it; empty for other encoders."""
    import segmentation_models_pytorch as smp

    if smp.encoders.is_equivalent_to_timm_universal(encoder):
        return encoder.replace("timm-", "tf_" if "mobilenetv3" in encoder else "")
    return encoder.removeprefix("tu-") if encoder.startswith("tu-") else ""


def _close(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, words)
    return f", but there is {', '.join(close)}" if close else ""


def _hub_weights(encoder: str, weights: str) -> str | bool:
    """What SMP calls these weights: their name, or True for a timm encoder.

    Raises:
        ValueError: if this encoder has no such weights.
    """
    import segmentation_models_pytorch as smp
    import timm

    if timm_name := _timm_name(encoder):
        if weights != "imagenet" or not timm.models.is_model_pretrained(timm_name):
            raise ValueError(
                f"{encoder!r} has no weights {weights!r}. A timm encoder carries their name itself: weights='imagenet' with "
                f"one of {timm.list_pretrained(f'{timm_name}*')[:5]} after 'tu-'; a file must end in {', '.join(_FILES)}"
            )
        return True
    available = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if weights not in available:
        raise ValueError(f"{encoder!r} has no weights {weights!r}, but {available} or a file that ends in {', '.join(_FILES)}")
    return weights


def _load_encoder(encoder: nn.Module, file: Path, name: str) -> None:
    import timm

    own = encoder.state_dict()
    state = {key: value.float() if value.is_floating_point() else value for key, value in _read(file).items()}
    if all(key.startswith("model.") for key in own):  # timm flattens: stages.0.conv is model.stages_0.conv here
        flat = {key.removeprefix("model.").replace(".", "_"): key for key in own}
        state = {flat[key]: value for old, value in state.items() if (key := old.replace(".", "_")) in flat}
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] != 3:
            state[key] = timm.models.adapt_input_conv(own[key].shape[1], value)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the encoder {name!r}: {str(error)[:1000]}") from None


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError, SafetensorError) as error:
        raise ValueError(f"{file} holds no weights: {error}") from error
    if not (isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())):
        raise ValueError(f"{file} holds no state dict, a mapping from names to tensors: take it out of what holds it and save it alone")
    return dict(state)


class Restored(NamedTuple):
    """What a checkpoint of `seglab fit` or of a study holds beside the training's state."""

    network: nn.Module
    """In train mode, with the checkpoint's weights."""
    description: Mapping[str, Any]
    in_channels: int
    class_names: list[str]
    mean: list[float]
    """Of each image channel, or one for all, on the scale [0, 1]."""
    std: list[float]


def rebuilt(description: Mapping[str, Any]) -> nn.Module:
    """Build the network that `description` describes, from scratch: the inverse of `description`, for SMP's networks.

    Raises:
        ValueError: if it describes no network of SMP, or one that the installed SMP cannot build.
    """
    path, config = description.get("class"), description.get("config")
    if not isinstance(path, str) or not isinstance(config, Mapping):
        raise ValueError(
            f"{path} is no network of segmentation_models_pytorch, and a description of any other does not tell how to build it; "
            "build it in Python, load its weights and go on from there"
        )
    architecture = _architectures().get(path.removeprefix("segmentation_models_pytorch."))
    if architecture is None:
        raise ValueError(f"the installed segmentation_models_pytorch has no {path}; it has {', '.join(_architectures())}")
    try:
        return architecture(**config)
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"the installed segmentation_models_pytorch cannot build {path} as it is described: {error}") from error


def restored(checkpoint: Path) -> Restored:
    """Build the network of a checkpoint that Lightning saved of a `SegmentationModule`, with its weights.

    Raises:
        ValueError: if the file is no such checkpoint, or its network is none of SMP's.
    """
    if not checkpoint.is_file():
        raise ValueError(f"{checkpoint} is no file; expected a checkpoint such as runs/fit/version_0/checkpoints/last.ckpt")
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise ValueError(f"{checkpoint} is damaged or no checkpoint: torch.load(weights_only=True) cannot read it") from error
    saved = content.get("seglab") if isinstance(content, Mapping) else None
    if not isinstance(saved, Mapping):
        raise ValueError(f"{checkpoint} is no checkpoint of seglab, which says what its network is; `seglab fit` and studies save such")
    network = rebuilt(saved["network"])
    state = {key.removeprefix("network."): value for key, value in content["state_dict"].items() if key.startswith("network.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint}: the weights do not fit the network that it describes: {str(error)[:1000]}") from error
    in_channels = int(saved["network"]["config"].get("in_channels", 3))
    return Restored(network, saved["network"], in_channels, saved["class_names"], saved["mean"], saved["std"])
