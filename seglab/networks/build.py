"""Networks of segmentation-models-pytorch (SMP) by architecture and encoder, and their descriptions as plain data."""

import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from seglab.networks.architecture import Architecture, architectures, check_options
from seglab.networks.files import SUFFIXES
from seglab.networks.hub import how_to_fetch, hub_weights, timm_name
from seglab.networks.loaded import remember
from seglab.networks.stages import sizes
from seglab.networks.weights import load_weights
from seglab.suggestions import did_you_mean


def network(
    architecture: str | Architecture = "Unet",
    encoder: str = "resnet18",
    *,
    num_classes: int,
    weights: str | Path | None = None,
    in_channels: int = 3,
) -> nn.Module:
    """Build any SMP network: images (N,in_channels,H,W) float → logits (N,num_classes,H,W).

    Args:
        architecture: an SMP class, such as `Unet`, `FPN` or `DeepLabV3Plus`, or an `Architecture`, which has the
            options of one.
        encoder: an SMP encoder (`resnet18`, `mit_b0`, …), or `tu-` and a timm model (`tu-convnext_atto`).
        num_classes: the number of logits per pixel.
        weights: the source of pretrained weights. `None`: from scratch. A `.pt`, `.pth` or `.safetensors` file: the
            state dict of an encoder, or of a whole model that has the encoder below one prefix, with the names of
            torchvision, timm or SMP, of any floating dtype. A `.ckpt` of seglab: its encoder, and its decoder and its
            head if their names and shapes are the same in this network. Any other word is the name of weights on the
            hub, such as "imagenet". Weights that do not fill the whole encoder are refused.
        in_channels: the number of channels of the images. A pretrained first layer is repeated over channels and scaled
            by SMP or timm.

    Returns:
        The network, in train mode. `loaded_weights` reports what was loaded, `weights_summary` in words.

    Raises:
        ValueError: for an unknown architecture or encoder, weights that do not exist, do not fit or cannot be
            downloaded, an encoder that the architecture cannot use, or options that it lacks or that give logits of
            another size than the image.
    """
    chosen = Architecture(architecture) if isinstance(architecture, str) else architecture
    if chosen.name not in architectures():
        raise ValueError(
            f"there is no architecture {chosen.name!r}{did_you_mean(chosen.name, architectures())}. All: {', '.join(architectures())}"
        )
    check_options(chosen)
    _check_encoder(encoder)
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}")
    file = None if weights is None or Path(weights).suffix not in SUFFIXES else Path(weights)
    built = _built(chosen, encoder, num_classes, in_channels, None if file is not None or weights is None else str(weights))
    if chosen.options:
        _check_size(built, chosen, encoder)
    if file is not None:
        load_weights(built, file, encoder)
    elif weights is not None:
        remember(built, str(weights), [name for name in built.state_dict() if name.startswith("encoder.")])
    return built


def unet(encoder: str, num_classes: int, weights: str | Path | None = None) -> nn.Module:
    """Build a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) on an encoder. Arguments and errors are those of
    `network`.

    For options, such as an attention in the decoder, use `network(Architecture("Unet", ...), ...)`.
    """
    return network("Unet", encoder, num_classes=num_classes, weights=weights)


def description(network: nn.Module) -> dict[str, Any]:
    """Return plain JSON data that identify a network.

    The description of an SMP network has its class and configuration, without the origin of its weights. `rebuilt`
    builds the network from them. The description of any other module has its class path. Two hashes tell networks
    apart: `layers_sha256`, of the names and classes of the layers, and `repr_sha256`, of their settings too, which is
    comparable under the same `libraries`.
    """
    cls = type(network)
    layers = "\n".join(f"{path}: {type(module).__name__}(" for path, module in network.named_modules())
    hashes = {
        "layers_sha256": _hash(layers),
        "repr_sha256": _hash(re.sub(r" at 0x[0-9a-f]+", "", repr(network))),
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "segmentation-models-pytorch")),
    }
    if cls in architectures().values():
        config = {**network._hub_mixin_config, "encoder_weights": None}  # type: ignore[dict-item]
        return {"class": f"segmentation_models_pytorch.{cls.__name__}", "config": json.loads(json.dumps(config)), **hashes}
    return {"class": f"{cls.__module__}.{cls.__qualname__}", **hashes}


def _hash(layers: str) -> str:
    """Return the SHA-256 of a text about layers, in which synchronized and ordinary batch norms are the same.

    A trainer may convert batch norms to those of several processes.
    """
    plain = re.sub(r"\b(_Joint|_JointAct|SyncBatchNorm|SyncBatchNormAct|BatchNorm[123]d|BatchNormAct2d)\(", "BatchNorm(", layers)
    return hashlib.sha256(plain.encode()).hexdigest()


def size_divisor(network: nn.Module) -> int:
    """Return the number that must divide the height and width of the images.

    Return 1 if any size works, and for modules that are not SMP's.
    """
    if not getattr(network, "requires_divisible_input_shape", False):
        return 1
    return int(network.get_submodule("encoder").output_stride)  # type: ignore[arg-type]


def rebuilt(description: Mapping[str, Any]) -> nn.Module:
    """Build the network of a `description` from scratch: the inverse of the function `description`, for SMP's networks.

    Raises:
        ValueError: if `description` is not that of an SMP network, or the installed SMP cannot build the network.
    """
    path, config = description.get("class"), description.get("config")
    if not isinstance(path, str) or not isinstance(config, Mapping):
        raise ValueError(
            f"{path} is no network of segmentation_models_pytorch, and a description of any other does not tell how to build it; "
            "build it in Python, load its weights and go on from there"
        )
    architecture = architectures().get(path.removeprefix("segmentation_models_pytorch."))
    if architecture is None:
        raise ValueError(f"the installed segmentation_models_pytorch has no {path}; it has {', '.join(architectures())}")
    try:
        return architecture(**config)
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"the installed segmentation_models_pytorch cannot build {path} as it is described: {error}") from error


def _built(architecture: Architecture, encoder: str, num_classes: int, in_channels: int, weights: str | None) -> nn.Module:
    """Build an SMP network, with encoder weights from the hub if `weights` is their name."""
    hub = None if weights is None else hub_weights(encoder, weights)
    build, options = architectures()[architecture.name], architecture.options
    try:
        return build(encoder_name=encoder, encoder_weights=hub, in_channels=in_channels, classes=num_classes, **options)
    except OSError as error:
        raise ValueError(how_to_fetch(architecture.name, encoder, str(weights))) from error
    except (
        ValueError,
        TypeError,
        AssertionError,
        LookupError,
        AttributeError,
        RuntimeError,
    ) as error:  # SMP and timm raise errors of many types
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = "change an option, or choose another encoder" if options else "choose another of the two"
        raise ValueError(f"{architecture} cannot use the encoder {encoder!r} ({reason}): {remedy}") from error


def _check_size(network: nn.Module, architecture: Architecture, encoder: str) -> None:
    """Check that a network with options runs, and that its logits have the size of the image."""
    try:
        (rows, columns), (height, width) = sizes(network)
    except ValueError as error:
        raise ValueError(f"{architecture} on {encoder}: {error}") from error
    if (rows, columns) != (height, width):
        factor = architecture.options.get("upsampling", inspect.signature(type(network).__init__).parameters["upsampling"].default)
        raise ValueError(
            f"{architecture} on {encoder} gives logits of {rows}×{columns} for images of {height}×{width}: expected the same size, which "
            f"upsampling={factor * height // rows} gives"
        )


def _check_encoder(encoder: str) -> None:
    import segmentation_models_pytorch as smp
    import timm

    if encoder in smp.encoders.get_encoder_names() or timm.is_model(timm_name(encoder)):
        return
    close = did_you_mean(encoder, [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())])
    raise ValueError(
        f"there is no encoder {encoder!r}{close}. All: "
        "segmentation_models_pytorch.encoders.get_encoder_names(), and 'tu-' before any of timm.list_models()"
    )
