"""Networks by the names of architecture and encoder, and their descriptions."""

import json
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from seglab.networks import description, loaded_weights, network, pretrained_parameters, size_divisor, stages, unet, weights_summary
from seglab.networks.stages import in_channels


@pytest.mark.parametrize("architecture", [cls.__name__ for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()])
def test_every_architecture_runs_and_has_stages(architecture: str) -> None:
    encoder = "tu-vit_tiny_patch16_224" if architecture == "DPT" else "resnet18"
    net = network(architecture, encoder, num_classes=3)
    found = stages(net)
    assert {stage.part for stage in found.stages} == {"encoder", "decoder", "head"}
    divisor = size_divisor(net)
    side = 224 if architecture == "DPT" else 128 if divisor > 1 else 47
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 3, side, side)).shape == (1, 3, side, side)
    if divisor > 1:
        with pytest.raises(RuntimeError, match="divisible"):
            net(torch.rand(1, 3, side + 1, side))


@pytest.mark.parametrize(
    ("architecture", "encoder", "weights", "message"),
    [
        ("UNet", "resnet18", None, "'UNet' \\(did you mean Unet\\?\\).*All: Unet, "),
        ("Unet", "resnet81", None, "'resnet81' \\(did you mean resnet18\\?\\).*get_encoder_names"),
        ("Unet", "tu-convnext_ato", None, "did you mean tu-convnext_atto"),
        ("Unet", "resnet18", "imagenet22k", r"no weights 'imagenet22k', but \['imagenet'.*\.safetensors, \.ckpt"),
        ("Unet", "resnet18", "weights/resnet18.bin", r"no weights 'weights/resnet18.bin'.* a file that ends in \.pt"),
        ("Unet", "tu-convnext_atto", "d2_in1k", r"convnext_atto.d2_in1k"),
    ],
)
def test_unknown_names(architecture: str, encoder: str, weights: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(architecture, encoder, num_classes=3, weights=weights)


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("Unet", "tu-vit_tiny_patch16_224", "Unet cannot use the encoder 'tu-vit_tiny_patch16_224' .*downsampling"),
        ("Linknet", "mit_b0", "Linknet cannot use the encoder 'mit_b0'"),
        ("PAN", "tu-swin_tiny_patch4_window7_224", "PAN cannot use .*output_stride"),  # a TypeError of timm's
        ("DeepLabV3", "tu-dla46_c", "DeepLabV3 cannot use .*AssertionError"),  # which says nothing
        ("DPT", "resnet18", "DPT cannot use .*Only Timm encoders"),
    ],
)
def test_encoders_that_an_architecture_cannot_use(architecture: str, encoder: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        network(architecture, encoder, num_classes=3)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"num_classes": 0}, {"num_classes": 2, "in_channels": 0}])
def test_numbers_of_classes_and_channels_are_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        network(**wrong)


def test_description_rebuilds_the_network() -> None:
    net = network("FPN", "mobilenet_v2", num_classes=4, in_channels=2)
    described = json.loads(json.dumps(description(net)))
    assert described == description(net)
    assert described["class"] == "segmentation_models_pytorch.FPN"
    assert described["config"]["encoder_weights"] is None
    again = getattr(smp, described["class"].rpartition(".")[2])(**described["config"])
    again.load_state_dict(net.state_dict())
    assert description(again) == described


def test_description_of_another_module() -> None:
    one, same, other = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3)
    assert description(one) == description(same) != description(other)
    assert description(one)["class"] == "torch.nn.modules.conv.Conv2d"


def test_a_module_of_the_user() -> None:
    net = nn.Sequential(nn.Conv2d(5, 8, 3), nn.Dropout(), nn.Conv2d(8, 2, 1))
    assert size_divisor(net) == 1
    assert in_channels(net) == 5
    assert pretrained_parameters(net) == frozenset()
    assert loaded_weights(net) is None


def test_from_scratch_nothing_is_loaded() -> None:
    net = unet("resnet18", 3)
    assert loaded_weights(net) is None
    assert pretrained_parameters(net) == frozenset()
    # counted by hand: torchvision's resnet18 without fc has 11,176,512; the decoder's five blocks of two convolutions
    # and norms the rest
    blocks = [(512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16)]
    decoder = sum(9 * into * out + 9 * out * out + 4 * out for into, out in blocks)
    assert weights_summary(net) == f"from scratch: {11_176_512 + decoder + 16 * 3 * 9 + 3:,} parameters are new"
