"""Loading of pretrained weights from a file or a checkpoint into a network: the whole encoder, or nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seglab.networks.files import content, state_dict
from seglab.networks.loaded import COUNTER, remember, some
from seglab.networks.matching import Match, foreign, matches
from seglab.networks.stages import in_channels, stages


def load_weights(network: nn.Module, file: Path, encoder: str) -> None:
    """Load the weights in a file into a network that SMP built on `encoder`.

    A checkpoint of seglab fills the encoder, and decoder and head if their names and shapes are the same. Any other
    file fills only the encoder.

    Raises:
        ValueError: if the file cannot be read, or does not have the whole encoder. The network is unchanged then.
    """
    held = content(file)
    saved = held.get("seglab") if isinstance(held, Mapping) else None
    if isinstance(saved, Mapping):
        state = _of_network(held, file)
        below = {name: tensor for name, tensor in state.items() if name.startswith("network.encoder.")}
        names = _encoder_names(network, below, f"{file}, a checkpoint of {_network_of(saved)},", encoder) | _other_parts(network, state)
    else:
        state = state_dict(held, file)
        names = _encoder_names(network, state, str(file), encoder)
    _fill(network, {mine: state[theirs] for mine, theirs in names.items()})
    remember(network, file.name, names, skipped=set(state).difference(names.values()))


def _encoder_names(network: nn.Module, state: Mapping[str, Tensor], what: str, encoder: str) -> dict[str, str]:
    """Return name in the network → name in the file, for each tensor of the encoder that the file has.

    Raises:
        ValueError: if the file has no whole encoder, has it more than once, or has another encoder.
    """
    own = network.get_submodule("encoder").state_dict()
    found = matches(own, state, in_channels(network))
    if not found:
        raise ValueError(f"{what} has nothing of the encoder {encoder!r}: expected {some(own)}, found {some(state) or 'none'}")
    needed = {name for name in own if not name.endswith(COUNTER)}
    if not needed <= found[0].fits.keys():
        needed -= _unused(network)
    whole = [match for match in found if needed <= match.fits.keys()]
    if not whole:
        raise ValueError(f"{what} does not fit the encoder {encoder!r}: {_misfit(found[0], needed, own, state)}")
    if len(whole) > 1:
        places = ", ".join(match.prefix for match in whole)
        raise ValueError(f"{what} holds the encoder {encoder!r} {len(whole)} times, below {places}: save alone the one that you want")
    if not _is_cut(network) and (others := foreign(whole[0], network.get_submodule("encoder"), state)):
        raise ValueError(f"{what} is of another encoder than {encoder!r}, which has no place for {some(others)}")
    return {f"encoder.{mine}": theirs for mine, theirs in whole[0].fits.items()}


def _misfit(match: Match, needed: set[str], own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Describe how much of an encoder a file has, which tensors are missing, and which have another shape."""
    missing = [name for name in own if name in needed and name not in match.fits and name not in match.wrong]
    wrong = [f"{mine} {_shape(own[mine])} is {_shape(state[theirs])} there" for mine, theirs in match.wrong.items() if mine in needed]
    parts = [f"{len(needed & match.fits.keys())} of {len(needed)} tensors fit"]
    parts += [f"missing {some(missing)}"] if missing else []
    parts += [f"of another shape: {some(wrong)}"] if wrong else []
    return "; ".join(parts)


def _unused(network: nn.Module) -> set[str]:
    """Return the encoder's parameters that no output depends on.

    Return also the buffers of modules that have only such parameters.
    """
    unused = {name.removeprefix("encoder.") for name in stages(network).unreachable}
    buffers: set[str] = set()
    for path, module in network.get_submodule("encoder").named_modules():
        parameters = {f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)}
        if parameters and parameters <= unused:
            buffers |= {f"{path}.{name}".lstrip(".") for name, _ in module.named_buffers(recurse=False)}
    return unused | buffers


def _is_cut(network: nn.Module) -> bool:
    """Return whether timm has left out the encoder's deepest blocks, as for PSPNet with its depth of three.

    A file of the whole encoder then has more blocks than the network.
    """
    encoder = network.get_submodule("encoder")
    return hasattr(encoder, "model") and int(getattr(encoder, "_depth", 5)) < 5


def _of_network(checkpoint: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """Return the tensors of the network in a checkpoint of seglab, by their names in the checkpoint.

    Raises:
        ValueError: if the checkpoint has no state_dict.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, Mapping):
        raise ValueError(f"{file} holds no weights: a checkpoint of seglab without its state_dict; get it again")
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}


def _network_of(saved: Mapping[str, Any]) -> str:
    """Return architecture and encoder of the network that a checkpoint describes, as `Unet on resnet18`."""
    described = saved.get("network", {})
    config = described.get("config", {})
    return " on ".join(filter(None, (str(described.get("class", "a network")).rpartition(".")[2], config.get("encoder_name"))))


def _other_parts(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return name in the network → name in the checkpoint, for the tensors of decoder and head.

    A part is included only if all its names and shapes are the same in the checkpoint.
    """
    names: dict[str, str] = {}
    for part, module in network.named_children():
        own = {f"network.{part}.{name}": tensor.shape for name, tensor in module.state_dict().items()}
        theirs = {name: tensor.shape for name, tensor in state.items() if name.startswith(f"network.{part}.")}
        if part != "encoder" and own == theirs:
            names |= {name.removeprefix("network."): name for name in own}
    return names


@torch.no_grad()
def _fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors of any floating dtype into the network.

    A first convolution is adapted to the number of channels that the network takes.
    """
    import timm

    own = network.state_dict()
    for name, tensor in tensors.items():
        given = tensor.to(own[name].dtype)
        own[name].copy_(given if given.shape == own[name].shape else timm.models.adapt_input_conv(own[name].shape[1], given))


def _shape(tensor: Tensor) -> str:
    return f"({','.join(map(str, tensor.shape))})"
