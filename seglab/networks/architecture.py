"""`Architecture`: an architecture of SMP with the options of its encoder and decoder."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn


def _is_whole(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_whole(value: object) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(_is_whole, value))


_EXPECTED: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...] = (
    (
        ("decoder_dropout", "decoder_aspp_dropout", "psp_dropout"),
        "a probability from 0 to below 1",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1,
    ),
    (
        ("decoder_attention_type", "decoder_interpolation", "decoder_merge_policy", "decoder_readout"),
        "a word",
        lambda value: isinstance(value, str),
    ),
    (("decoder_use_norm",), "a word, or true or false", lambda value: isinstance(value, bool | str)),
    (("decoder_aspp_separable",), "true or false", lambda value: isinstance(value, bool)),
    (
        ("encoder_output_indices",),
        "whole numbers, one for each level",
        lambda value: isinstance(value, tuple) and all(_is_whole(number, least=0) for number in value),
    ),
    (
        ("decoder_atrous_rates", "decoder_intermediate_channels"),
        "several whole numbers of at least 1",
        _are_whole,
    ),
    (("decoder_channels",), "a whole number of at least 1, or several", lambda value: _is_whole(value) or _are_whole(value)),
    (
        (
            "encoder_depth",
            "encoder_output_stride",
            "decoder_pyramid_channels",
            "decoder_segmentation_channels",
            "decoder_pab_channels",
            "psp_out_channels",
            "decoder_fusion_channels",
            "upsampling",
        ),
        "a whole number of at least 1",
        _is_whole,
    ),
)
"""Names of options, what is expected of their values in words, and as a check. SMP itself checks which words there
are.
"""


@dataclass(frozen=True)
class Architecture:
    """An architecture of segmentation-models-pytorch (SMP), and its options by the names that SMP gives them.

        network(Architecture("Unet", decoder_attention_type="scse"), "resnet18", num_classes=4)
        network(Architecture("FPN", decoder_dropout=0.5), "resnet18", num_classes=4)

    None leaves an option as SMP has it by default. `seglab.network` refuses an option that the architecture lacks. Two
    arguments of SMP are no options, because a loss takes logits of pixels: `activation`, which would change the logits,
    and `aux_params`, which adds a classification of the whole image.

    Raises:
        ValueError: an option is out of its range.
    """

    name: str
    """SMP class, such as `Unet`, `FPN` or `DeepLabV3Plus`."""
    encoder_depth: int | None = None
    """number of times that the encoder halves the image."""
    encoder_output_stride: int | None = None
    """size of the image over that of the encoder's last features: 8, 16 or 32."""
    encoder_output_indices: Sequence[int] | None = None
    """blocks of the transformer whose features the decoder takes, one for each level of `encoder_depth`."""
    decoder_channels: int | Sequence[int] | None = None
    """filters of the decoder: one per level, deep to shallow, for Unet, UnetPlusPlus and MAnet; else one number."""
    decoder_use_norm: bool | str | None = None
    """norm of the decoder: "batchnorm" or true; "identity" or false is none. SMP's other norms do not work with its
    decoders.
    """
    decoder_attention_type: str | None = None
    """attention in the decoder: "scse"."""
    decoder_interpolation: str | None = None
    """how the decoder enlarges features: "nearest", "bilinear", "bicubic"."""
    decoder_dropout: float | None = None
    """probability of dropout in the decoder of FPN."""
    decoder_merge_policy: str | None = None
    """how FPN merges its levels: "add" or "cat"."""
    decoder_pyramid_channels: int | None = None
    """filters of FPN's pyramid."""
    decoder_segmentation_channels: int | None = None
    """filters of the blocks after the pyramid of FPN, or of the decoder of Segformer."""
    decoder_pab_channels: int | None = None
    """filters of MAnet's attention over positions."""
    decoder_atrous_rates: Sequence[int] | None = None
    """three dilation rates of DeepLab's spatial pyramid."""
    decoder_aspp_separable: bool | None = None
    """whether the convolutions of DeepLab's spatial pyramid are separable."""
    decoder_aspp_dropout: float | None = None
    """probability of dropout after DeepLab's spatial pyramid."""
    psp_out_channels: int | None = None
    """filters of PSPNet's decoder."""
    psp_dropout: float | None = None
    """probability of dropout in PSPNet's decoder."""
    decoder_readout: str | None = None
    """what DPT does with the class token: "ignore", "add" or "cat"."""
    decoder_intermediate_channels: Sequence[int] | None = None
    """filters of DPT's levels, shallow to deep."""
    decoder_fusion_channels: int | None = None
    """filters of DPT's fusion blocks."""
    upsampling: int | None = None
    """factor of the last enlargement, which has to bring the logits to the size of the image."""

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            expected = next((words for names, words, fits in _EXPECTED if name in names and not fits(value)), None)
            if expected is not None:
                raise ValueError(f"{name} is {value!r}: expected {expected}")

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given, by name. Sequences are tuples."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "name"}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join([self.name, *(f"{name}={value!r}" for name, value in self.options.items())])


@cache
def architectures() -> Mapping[str, type[nn.Module]]:
    """Return the architectures of SMP, by the names of their classes."""
    import segmentation_models_pytorch as smp

    return {cls.__name__: cls for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()}


def check_options(architecture: Architecture) -> None:
    """Check that an architecture of SMP has the options that are given.

    Raises:
        ValueError: it lacks an option. The message names the architectures that have the option.
    """
    has = {name: set(inspect.signature(cls.__init__).parameters) for name, cls in architectures().items()}
    for option in architecture.options:
        if option not in has[architecture.name]:
            others = ", ".join(name for name, parameters in has.items() if option in parameters)
            own = ", ".join(field.name for field in dataclasses.fields(architecture) if field.name in has[architecture.name])
            raise ValueError(f"{architecture.name} has no {option}, which is an option of {others}; {architecture.name} has {own}")
