"""Reconstruction of the network in a training's checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from seglab.networks.build import rebuilt
from seglab.networks.files import content


class Restored(NamedTuple):
    """Content of a checkpoint of `seglab fit` or of a study, without the training's state."""

    network: nn.Module
    """In train mode, with the checkpoint's weights."""
    description: Mapping[str, Any]
    in_channels: int
    class_names: list[str]
    mean: list[float]
    """Mean of each image channel, or one for all channels, on the scale [0, 1]."""
    std: list[float]


def restored(checkpoint: Path) -> Restored:
    """Build the network of a checkpoint that Lightning saved of a `SegmentationModule`, and load the checkpoint's weights.

    Raises:
        ValueError: if the file is no such checkpoint, or its network is none of SMP's.
    """
    if not checkpoint.is_file():
        raise ValueError(f"{checkpoint} is no file; expected a checkpoint such as runs/fit/version_0/checkpoints/last.ckpt")
    try:
        held = content(checkpoint)
    except ValueError as error:
        raise ValueError(f"{checkpoint} is damaged or no checkpoint: torch.load(weights_only=True) cannot read it") from error
    saved = held.get("seglab") if isinstance(held, Mapping) else None
    if not isinstance(saved, Mapping):
        raise ValueError(f"{checkpoint} is no checkpoint of seglab, which says what its network is; `seglab fit` and studies save such")
    network = rebuilt(saved["network"])
    state = {key.removeprefix("network."): value for key, value in held["state_dict"].items() if key.startswith("network.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint}: the weights do not fit the network that it describes: {str(error)[:1000]}") from error
    in_channels = int(saved["network"]["config"].get("in_channels", 3))
    return Restored(network, saved["network"], in_channels, saved["class_names"], saved["mean"], saved["std"])
