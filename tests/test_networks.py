"""Networks, weights from files, and the stages of encoders of many families."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from seglab.networks import Stages, description, network, pretrained_parameters, size_divisor, stages, unet
from seglab.stage import Stage

ENCODERS = {  # with the number of stages
    "resnet18": 5,
    "resnext50_32x4d": 5,
    "efficientnet-b0": 5,
    "mobilenet_v2": 5,
    "densenet121": 5,
    "vgg11_bn": 5,
    "mit_b0": 4,
    "timm-efficientnet-b0": 5,
    "mobileone_s0": 5,
    "xception": 5,
    "tu-convnext_atto": 4,
    "tu-regnetx_002": 5,
}
timm_is_deprecated = pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated:DeprecationWarning")


def encoder_stages(found: Stages) -> list[Stage]:
    return [stage for stage in found.stages if stage.part == "encoder"]


@timm_is_deprecated
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_in_one_stage_or_unreachable(encoder: str) -> None:
    net = unet(encoder, 3)
    found = stages(net)
    names = [name for group in found.stages.values() for name in group] + found.unreachable
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())
    n = ENCODERS[encoder]
    assert [s.name for s in found.stages] == [*(f"encoder.{i}" for i in range(n)), "decoder", "head"]
    assert [s.depth for s in found.stages] == list(range(n + 2))
    assert [s.height for s in found.stages] == list(reversed(range(n + 2)))
    assert all(name.startswith(stage.part.replace("head", "segmentation_head")) for stage, group in found.stages.items() for name in group)


@timm_is_deprecated
@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0", "densenet121", "vgg11_bn", "tu-convnext_atto"])
def test_stages_are_what_real_gradients_say(encoder: str) -> None:
    net = unet(encoder, 3).eval()
    found = stages(net)
    assert not net.training
    features = net.get_submodule("encoder")(torch.rand(1, 3, 64, 64))
    parameters = dict(net.named_parameters())
    groups: list[set[str]] = []
    for feature in features:
        if feature.requires_grad:
            gradients = torch.autograd.grad(feature.sum(), list(parameters.values()), allow_unused=True, retain_graph=True)
            reached = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
            groups.append(reached.difference(*groups))  # none are new in VGG's last map, a pooling
    assert [set(found.stages[stage]) for stage in encoder_stages(found)] == [group for group in groups if group]


def test_stages_of_resnet18() -> None:
    found = stages(unet("resnet18", 3))
    first, *others = encoder_stages(found)
    assert found.stages[first] == ["encoder.conv1.weight", "encoder.bn1.weight", "encoder.bn1.bias"]
    for i, stage in enumerate(others, start=1):
        assert all(name.startswith(f"encoder.layer{i}.") for name in found.stages[stage])
    assert found.unreachable == []


def test_what_no_output_depends_on_is_unreachable() -> None:
    assert stages(unet("efficientnet-b0", 3)).unreachable == ["encoder._conv_head.weight", "encoder._bn1.weight", "encoder._bn1.bias"]
    pspnet = stages(network("PSPNet", num_classes=3))  # uses three of the encoder's five levels
    assert [s.name for s in encoder_stages(pspnet)] == ["encoder.0", "encoder.1", "encoder.2"]
    assert {name.split(".")[1] for name in pspnet.unreachable} == {"layer3", "layer4"}


def test_unreachable_parameters_are_those_without_a_gradient() -> None:
    net = unet("efficientnet-b0", 3)
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == stages(net).unreachable


def test_stages_leave_the_network_as_it_was() -> None:
    net = unet("efficientnet-b0", 3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    first = stages(net)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.requires_grad_(False)
    with torch.no_grad():
        assert stages(net) == first


@timm_is_deprecated
@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoder_is_deterministic_when_its_stages_are_in_eval(encoder: str) -> None:
    net = unet(encoder, 3).train()
    found = stages(net)
    for stage in encoder_stages(found):
        for path in found.modules[stage]:
            net.get_submodule(path).eval()
    leaves = [module for module in net.get_submodule("encoder").modules() if not list(module.children())]
    assert not any(module.training for module in leaves)
    assert all(module.training for module in net.get_submodule("decoder").modules())
    image = torch.rand(1, 3, 64, 64)
    before = {name: value.clone() for name, value in net.get_submodule("encoder").named_buffers()}
    with torch.no_grad():
        once, twice = net.get_submodule("encoder")(image), net.get_submodule("encoder")(image)
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in net.get_submodule("encoder").named_buffers())


def test_modules_of_a_stage_are_its_own() -> None:
    net = unet("resnet18", 3)
    found = stages(net)
    first, second, *_ = encoder_stages(found)
    encoder = net.get_submodule("encoder")
    assert found.modules[first] == [f"encoder.{name}" for name in ("conv1", "bn1", "relu", "maxpool")]
    layers = [f"encoder.layer1.{path}".rstrip(".") for path, _ in encoder.get_submodule("layer1").named_modules()]
    assert found.modules[second] == layers


def test_a_module_of_the_user_is_one_stage() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.Conv2d(8, 2, 1))
    whole = Stage("network", 0, 0, "decoder")
    assert stages(net) == Stages({whole: ["0.weight", "0.bias", "2.weight", "2.bias"]}, [], {whole: ["", "0", "1", "2"]})
    assert size_divisor(net) == 1
    assert pretrained_parameters(net) == frozenset()


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


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_from_a_torchvision_file(tmp_path: Path, suffix: str) -> None:
    state = half(torchvision.models.resnet18(weights=None).state_dict())
    file = tmp_path / f"resnet18{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    net = unet("resnet18", 3, weights=file)
    encoder = net.get_submodule("encoder")
    assert all(value.dtype in (torch.float32, torch.int64) for value in encoder.state_dict().values())
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in encoder.state_dict().items())
    assert pretrained_parameters(net) == {f"encoder.{name}" for name, _ in encoder.named_parameters()}
    assert pretrained_parameters(unet("resnet18", 3)) == frozenset()
    assert description(net) == description(unet("resnet18", 3))


@pytest.mark.parametrize("model", ["convnext_atto", "regnetx_002", "resnet18"])
def test_weights_from_a_timm_file(tmp_path: Path, model: str) -> None:
    source = timm.create_model(model)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    encoder = unet(f"tu-{model}", 3, weights=str(tmp_path / "w.pt")).get_submodule("encoder").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = source.eval().forward_intermediates(image, intermediates_only=True)
        torch.testing.assert_close(encoder(image)[-1], theirs[-1])


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_pretrained_first_layer_takes_other_channels_as_smp_does(tmp_path: Path, channels: int) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pt")
    net = network(num_classes=3, in_channels=channels, weights=tmp_path / "w.pt")
    theirs = smp.encoders.get_encoder("resnet18", weights=None)
    theirs.load_state_dict(dict(state))
    theirs.set_in_channels(channels, pretrained=True)
    torch.testing.assert_close(net.get_submodule("encoder").state_dict(), theirs.state_dict())
    assert stages(net).unreachable == []


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "r18.pt")
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for file, encoder, message in (
        ("r18.pt", "resnet34", "does not fit the encoder 'resnet34'.*Missing key.*layer1.2.conv1"),
        ("r18.pt", "tu-convnext_atto", "does not fit"),
        ("checkpoint.pt", "resnet18", "no state dict"),
        ("text.pt", "resnet18", "holds no weights"),
        ("absent.pt", "resnet18", "there is no file"),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            unet(encoder, 3, weights=tmp_path / file)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto"])
def test_offline_says_how_to_fetch(encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="neither on this machine nor could they be downloaded"):
        unet(encoder, 3, weights="imagenet")


@pytest.mark.parametrize(
    ("architecture", "encoder", "weights", "message"),
    [
        ("UNet", "resnet18", None, "'UNet', but there is Unet.*All: Unet, "),
        ("Unet", "resnet81", None, "'resnet81', but there is .*resnet18.*get_encoder_names"),
        ("Unet", "tu-convnext_ato", None, "but there is .*tu-convnext_atto"),
        ("Unet", "resnet18", "imagenet22k", r"no weights 'imagenet22k', but \['imagenet'"),
        ("Unet", "tu-convnext_atto", "d2_in1k", r"convnext_atto.d2_in1k"),
    ],
)
def test_unknown_names(architecture: str, encoder: str, weights: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(architecture, encoder, num_classes=3, weights=weights)


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
