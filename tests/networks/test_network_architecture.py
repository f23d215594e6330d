"""Options of SMP's architectures: each has an effect, is described and is rebuilt.

An option that an architecture lacks is refused by name.
"""

import dataclasses
import inspect
import json
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from seglab import Architecture, SegmentationModule
from seglab.losses import CrossEntropy
from seglab.networks import description, network, rebuilt, size_divisor, stages, unet
from seglab.stage import Progress
from seglab.study.description import describe

NO_OPTIONS = {"self", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs"}
OPTIONS = {cls.__name__: set(inspect.signature(cls.__init__).parameters) - NO_OPTIONS for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()}
CHANNELS = (32, 16, 8, 8, 4)

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {"encoder_depth": 4, "decoder_channels": CHANNELS[:4]}) for name in ("Unet", "UnetPlusPlus", "MAnet")),
    *((name, {"encoder_depth": 4}) for name in ("Linknet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer")),
    ("FPN", {"encoder_depth": 4, "upsampling": 2}),
    ("PSPNet", {"encoder_depth": 4, "upsampling": 16}),
    *((name, {"decoder_channels": CHANNELS}) for name in ("Unet", "UnetPlusPlus", "MAnet")),
    *((name, {"decoder_channels": 24}) for name in ("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")),
    *((name, {"decoder_use_norm": False}) for name in ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "PSPNet", "UPerNet")),
    ("Unet", {"decoder_use_norm": "identity"}),
    *((name, {"decoder_attention_type": "scse"}) for name in ("Unet", "UnetPlusPlus")),
    *((name, {"decoder_interpolation": "bilinear"}) for name in ("Unet", "UnetPlusPlus", "MAnet", "FPN")),
    ("PAN", {"decoder_interpolation": "bicubic"}),
    ("MAnet", {"decoder_pab_channels": 16}),
    ("FPN", {"decoder_pyramid_channels": 32}),
    ("FPN", {"decoder_segmentation_channels": 32}),
    ("FPN", {"decoder_merge_policy": "cat"}),
    ("FPN", {"decoder_dropout": 0.5}),
    ("Segformer", {"decoder_segmentation_channels": 16}),
    ("PSPNet", {"psp_out_channels": 32}),
    ("PSPNet", {"psp_dropout": 0.0}),
    ("DeepLabV3", {"encoder_output_stride": 16}),
    ("DeepLabV3Plus", {"encoder_output_stride": 8}),
    ("PAN", {"encoder_output_stride": 32}),
    *((name, {"decoder_atrous_rates": [2, 3, 4]}) for name in ("DeepLabV3", "DeepLabV3Plus")),
    ("DeepLabV3", {"decoder_aspp_separable": True}),
    ("DeepLabV3Plus", {"decoder_aspp_separable": False}),
    *((name, {"decoder_aspp_dropout": 0.1}) for name in ("DeepLabV3", "DeepLabV3Plus")),
    ("DPT", {"encoder_output_indices": (1, 3, 5, 7)}),
    ("DPT", {"encoder_depth": 3, "encoder_output_indices": (2, 5, 8), "decoder_intermediate_channels": (16, 32, 64)}),
    ("DPT", {"decoder_readout": "ignore"}),
    ("DPT", {"decoder_intermediate_channels": (16, 32, 64, 64)}),
    ("DPT", {"decoder_fusion_channels": 32}),
]
ALWAYS_FOUR = {"DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer"}
"""Architectures with one right factor for the last enlargement. `test_a_last_enlargement_that_does_not_fit_is_refused`
shows it.
"""


def is_slow(place: int) -> bool:
    """Return whether an earlier case has the options of this one, or its network is large."""
    name, options = CASES[place]
    return name == "DPT" or any(given.keys() >= options.keys() for _, given in CASES[:place])


def encoder_of(name: str) -> str:
    return "tu-vit_tiny_patch16_224" if name == "DPT" else "resnet18"


def built(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return network(Architecture(name, **options), encoder_of(name), num_classes=3)


def acts(one: nn.Module, other: nn.Module, side: int) -> bool:
    """Return whether two networks have other layers, or other logits with the same weights."""
    if repr(one) != repr(other):
        return True
    other.load_state_dict(one.state_dict())
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return not torch.allclose(one.eval()(image), other.eval()(image))


def test_every_option_of_smp_is_an_option_and_has_a_case() -> None:
    fields = {field.name for field in dataclasses.fields(Architecture)} - {"name"}
    assert fields == set().union(*OPTIONS.values())
    for name, options in OPTIONS.items():
        tried = {option for case, given in CASES if case == name for option in given}
        assert options - tried == ({"upsampling"} if name in ALWAYS_FOUR else set()), name


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*case, marks=[pytest.mark.slow] if is_slow(place) else []) for place, case in enumerate(CASES)],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_an_option_acts_and_is_rebuilt(name: str, options: dict[str, Any]) -> None:
    plain, net = built(name), built(name, **options)
    side = {"DPT": 224, "PAN": 256}.get(name, 64)
    assert acts(plain, net, side)
    described = json.loads(json.dumps(description(net)))
    assert described["config"] != description(plain)["config"]
    again = rebuilt(described)
    assert description(again) == described
    again.load_state_dict(net.state_dict())
    assert {stage.part for stage in stages(net).stages} == {"encoder", "decoder", "head"}
    side = side if name == "DPT" else side + size_divisor(net)
    image = torch.rand(1, 3, side, side)
    with torch.no_grad():
        logits = net.eval()(image)
        assert torch.equal(again.eval()(image), logits)
    assert logits.shape == (1, 3, side, side)


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_is_the_name_alone(name: str) -> None:
    """The same weights, description and settings of a study."""
    torch.manual_seed(0)
    by_name = network(name, encoder_of(name), num_classes=3)
    by_object = built(name)
    assert description(by_name) == description(by_object)
    assert all(torch.equal(value, by_object.state_dict()[key]) for key, value in by_name.state_dict().items())


def test_options_are_settings_of_a_study() -> None:
    def settings(**options: Any) -> dict[str, Any]:
        def arm() -> SegmentationModule:
            return SegmentationModule(
                network(Architecture("FPN", **options), "tu-test_resnet", num_classes=3), CrossEntropy(), num_classes=3
            )

        found: dict[str, Any] = describe(arm, Progress(0, 10, 5))["network"]
        return found

    assert settings() == settings(decoder_dropout=0.2), "which is SMP's default"
    assert settings()["config"]["decoder_dropout"] == 0.2
    assert settings(decoder_dropout=0.4)["config"]["decoder_dropout"] == 0.4
    assert settings(decoder_dropout=0.4)["structure"] != settings()["structure"]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_an_architecture_lacks_is_refused_by_name(name: str) -> None:
    given = {option: value for _, options in CASES for option, value in options.items()}
    assert set(given) == set().union(*OPTIONS.values())
    for option in sorted(set(given) - OPTIONS[name]):
        having = ", ".join(other for other in OPTIONS if option in OPTIONS[other])
        with pytest.raises(ValueError, match=f"^{name} has no {option}, which is an option of {having}; {name} has .*encoder_depth"):
            built(name, **{option: given[option]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_dropout": 1.0}, "decoder_dropout is 1.0: expected a probability from 0 to below 1"),
        ({"decoder_dropout": "0.1"}, "decoder_dropout is '0.1': expected a probability"),
        ({"psp_dropout": float("nan")}, "psp_dropout is nan"),
        ({"encoder_depth": 0}, "encoder_depth is 0: expected a whole number of at least 1"),
        ({"encoder_depth": 4.0}, "encoder_depth is 4.0"),
        ({"encoder_depth": True}, "encoder_depth is True"),
        ({"decoder_channels": [64, 0]}, r"decoder_channels is \(64, 0\): expected a whole number of at least 1, or several"),
        ({"decoder_channels": []}, r"decoder_channels is \(\)"),
        ({"decoder_atrous_rates": 6}, "decoder_atrous_rates is 6: expected several whole numbers"),
        ({"decoder_aspp_separable": "yes"}, "decoder_aspp_separable is 'yes': expected true or false"),
        ({"decoder_attention_type": True}, "decoder_attention_type is True: expected a word"),
        ({"decoder_use_norm": 3}, "decoder_use_norm is 3: expected a word, or true or false"),
        ({"encoder_output_indices": (1, -1)}, r"encoder_output_indices is \(1, -1\)"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture("Unet", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Unet", {"decoder_channels": 64}, r"Unet, decoder_channels=64 cannot use the encoder 'resnet18' \(.*\): change an option"),
        ("Unet", {"decoder_channels": (64, 32)}, r"Unet, decoder_channels=\(64, 32\) cannot use"),
        ("Unet", {"encoder_depth": 4}, "Unet, encoder_depth=4 cannot use .*decoder_channels"),
        ("Unet", {"encoder_depth": 9}, "Unet, encoder_depth=9 cannot use"),
        ("Unet", {"decoder_attention_type": "se"}, "Attention se is not implemented"),
        ("Unet", {"decoder_use_norm": "groupnorm"}, "groupnorm"),
        ("Unet", {"decoder_use_norm": "instancenorm"}, "decoder_use_norm='instancenorm' cannot use"),  # SMP sets the scale that it lacks
        ("FPN", {"decoder_segmentation_channels": 16}, "divisible by num_groups"),
        ("Unet", {"decoder_use_norm": "layernorm"}, "decoder_use_norm='layernorm' on resnet18"),  # SMP's norms the last dimension
        ("Unet", {"decoder_interpolation": "linear"}, "decoder_interpolation='linear' on resnet18"),
        ("UPerNet", {"decoder_channels": (64, 32)}, "UPerNet, decoder_channels="),
        ("FPN", {"decoder_merge_policy": "mean"}, "mean"),
        ("FPN", {"encoder_depth": 1}, "FPN, encoder_depth=1"),
        ("DeepLabV3", {"encoder_output_stride": 4}, "encoder_output_stride=4"),
        ("DeepLabV3Plus", {"decoder_atrous_rates": (2, 3)}, "decoder_atrous_rates="),
        ("PAN", {"encoder_output_stride": 8}, "encoder_output_stride=8"),
    ],
)
def test_options_that_do_not_go_together(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        built(name, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "right"),
    [
        *((name, {"upsampling": 8}, 4) for name in ("FPN", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer")),
        ("DeepLabV3", {"upsampling": 4}, 8),
        ("PSPNet", {"upsampling": 4}, 8),
        ("PSPNet", {"encoder_depth": 4}, 16),
        ("FPN", {"encoder_depth": 4}, 2),
    ],
)
def test_a_last_enlargement_that_does_not_fit_is_refused(name: str, options: dict[str, Any], right: int) -> None:
    with pytest.raises(ValueError, match=rf"{name}, .* gives logits of \d+×\d+ for images of 224×224.* upsampling={right} gives"):
        built(name, **options)
    built(name, **{**options, "upsampling": right})


def test_a_u_net_without_options_is_unchanged() -> None:
    assert description(unet("resnet18", 3)) == description(network(Architecture("Unet"), "resnet18", num_classes=3))
