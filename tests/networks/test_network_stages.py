"""The stages of encoders of many families, against real gradients, and that what is frozen gives the same again."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from seglab.networks import Stages, network, stages, unet
from seglab.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated:DeprecationWarning")

FAMILIES = {  # the smallest of each, with its number of stages: 5 where the first map has half the image's side, 4 where it has a quarter
    "resnet18": 5,
    "resnext50_32x4d": 5,
    "se_resnet50": 5,
    "densenet121": 5,
    "vgg11": 5,
    "vgg11_bn": 5,
    "inceptionv4": 5,
    "inceptionresnetv2": 5,
    "xception": 5,
    "efficientnet-b0": 5,
    "mobilenet_v2": 5,
    "mobileone_s0": 5,
    "dpn68": 5,
    "mit_b0": 4,
    "timm-efficientnet-b0": 5,
    "timm-res2net50_26w_4s": 5,
    "timm-resnest14d": 5,
    "timm-gernet_s": 5,
    "timm-skresnet18": 5,
    "tu-regnetx_002": 5,
    "tu-convnext_atto": 4,
    "tu-convnextv2_atto": 4,
    "tu-mobilenetv3_small_050": 5,
    "tu-hrnet_w18_small": 5,
    "tu-ghostnet_050": 5,
    "tu-tresnet_m": 4,  # a first convolution of 48 channels, of blocks of 4×4 pixels
    "tu-swin_tiny_patch4_window7_224": 4,  # runs at 224×224 alone
    "tu-swinv2_tiny_window8_256": 4,
    "tu-maxvit_rmlp_pico_rw_256": 5,  # at 256×256 alone
    "tu-coatnet_pico_rw_224": 5,
    "tu-pvt_v2_b0": 4,
    "tu-efficientvit_b0": 4,
    "tu-edgenext_xx_small": 4,
    "tu-fastvit_t8": 4,
    "tu-repvit_m0_9": 4,
    "tu-mvitv2_tiny": 4,
    "tu-vit_tiny_patch16_224": 4,  # in DPT: four of its blocks give maps
}
FIXED_SIDES = {name: int(name[-3:]) for name in FAMILIES if name.endswith(("224", "256"))} | {"tu-mvitv2_tiny": 224}


class Family(NamedTuple):
    """A network on the smallest encoder of a family."""

    encoder: str
    network: nn.Module
    stages: Stages

    def maps(self) -> list[Tensor]:
        """The encoder's feature maps of a random image, as small as it takes."""
        side = FIXED_SIDES.get(self.encoder, 64)
        maps = self.network.get_submodule("encoder")(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
        return list(maps[0]) if isinstance(maps, tuple) else list(maps)

    def encoder_stages(self) -> list[Stage]:
        return [stage for stage in self.stages.stages if stage.part == "encoder"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    """Built once; tests of the same family run one after another."""
    net = network("DPT" if "vit_tiny_patch16" in request.param else "Unet", request.param, num_classes=3)
    return Family(request.param, net, stages(net))


@pytest.mark.slow
def test_every_parameter_is_in_one_stage_or_unreachable(family: Family) -> None:
    found, n = family.stages, FAMILIES[family.encoder]
    names = [name for group in found.stages.values() for name in group] + found.unreachable
    assert sorted(names) == sorted(name for name, _ in family.network.named_parameters())
    assert [s.name for s in found.stages] == [*(f"encoder.{i}" for i in range(n)), "decoder", "head"]
    assert [s.depth for s in found.stages] == list(range(n + 2))
    assert [s.height for s in found.stages] == list(reversed(range(n + 2)))
    assert all(name.startswith(stage.part.replace("head", "segmentation_head")) for stage, group in found.stages.items() for name in group)


def test_encoder_is_deterministic_when_its_stages_are_in_eval(family: Family) -> None:
    net = family.network.train()
    encoder = net.get_submodule("encoder")
    for stage in family.encoder_stages():
        for path in family.stages.modules[stage]:
            net.get_submodule(path).eval()
    leaves = [module for module in encoder.modules() if not list(module.children())]
    assert not any(module.training for module in leaves)
    assert all(module.training for module in net.get_submodule("decoder").modules())
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    with torch.no_grad():
        once, twice = family.maps(), family.maps()
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_stages_are_what_real_gradients_say(family: Family) -> None:
    family.network.eval()
    parameters = dict(family.network.named_parameters())
    groups: list[set[str]] = []
    for feature in family.maps():
        if feature.requires_grad:
            gradients = torch.autograd.grad(feature.sum(), list(parameters.values()), allow_unused=True, retain_graph=True)
            reached = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
            groups.append(reached.difference(*groups))  # none are new in VGG's last map, a pooling
    expected = [group.difference(family.stages.unreachable) for group in groups]
    assert [set(family.stages.stages[stage]) for stage in family.encoder_stages()] == [group for group in expected if group]


@pytest.mark.parametrize("encoder", ["efficientnet-b0", "mit_b0"])
def test_the_first_stages_alone_can_be_frozen(encoder: str) -> None:
    """Maps of stages in eval are the same each time; deeper ones are not, as drop-path is at work there."""
    net = unet(encoder, 3).train()
    found = stages(net)
    shallow = [stage for stage in found.stages if stage.depth < 2]
    for stage in shallow:
        for path in found.modules[stage]:
            net.get_submodule(path).eval()
    module: Any
    for module in net.get_submodule("encoder").modules():
        if "drop" in type(module).__name__.lower() and getattr(module, "drop_prob", None) is not None:
            module.drop_prob = 0.5  # often enough to be seen
    family = Family(encoder, net, found)
    with torch.no_grad():
        first, *others = [[one for one in family.maps() if one.shape[1] not in (0, 3)] for _ in range(16)]
    for other in others:
        assert torch.equal(other[0], first[0])
        assert torch.equal(other[1], first[1])
    assert any(not torch.equal(other[-1], first[-1]) for other in others)


def test_stages_of_resnet18() -> None:
    found = stages(unet("resnet18", 3))
    first, *others = [stage for stage in found.stages if stage.part == "encoder"]
    assert found.stages[first] == ["encoder.conv1.weight", "encoder.bn1.weight", "encoder.bn1.bias"]
    for i, stage in enumerate(others, start=1):
        assert all(name.startswith(f"encoder.layer{i}.") for name in found.stages[stage])
    assert found.unreachable == []


def test_what_no_output_depends_on_is_unreachable() -> None:
    assert stages(unet("efficientnet-b0", 3)).unreachable == ["encoder._conv_head.weight", "encoder._bn1.weight", "encoder._bn1.bias"]
    pspnet = stages(network("PSPNet", num_classes=3))  # uses three of the encoder's five levels
    assert [s.name for s in pspnet.stages if s.part == "encoder"] == ["encoder.0", "encoder.1", "encoder.2"]
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


def test_modules_of_a_stage_are_its_own() -> None:
    net = unet("resnet18", 3)
    found = stages(net)
    first, second, *_ = found.stages
    encoder = net.get_submodule("encoder")
    assert found.modules[first] == [f"encoder.{name}" for name in ("conv1", "bn1", "relu", "maxpool")]
    layers = [f"encoder.layer1.{path}".rstrip(".") for path, _ in encoder.get_submodule("layer1").named_modules()]
    assert found.modules[second] == layers


@pytest.mark.parametrize("channels", [1, 4])
def test_stages_do_not_depend_on_the_channels(channels: int) -> None:
    for encoder in ("resnet18", "tu-convnext_atto"):
        assert stages(network("Unet", encoder, num_classes=3, in_channels=channels)).stages == stages(unet(encoder, 3)).stages


def test_a_first_convolution_may_have_groups() -> None:
    """Its filters have fewer channels than the image, which is as SMP's configuration says."""
    net = network("Unet", "tu-test_resnet", num_classes=3, in_channels=6)
    expected = stages(net)
    first = net.get_submodule("encoder.model.conv1.0")
    assert isinstance(first, nn.Conv2d)
    net.get_submodule("encoder.model.conv1")[0] = nn.Conv2d(6, first.out_channels, 3, stride=2, padding=1, groups=2, bias=False)  # type: ignore[operator]
    assert net(torch.rand(2, 6, 64, 64)).shape == (2, 3, 64, 64)
    assert stages(net).stages == expected.stages


def test_a_module_of_the_user_is_one_stage() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.Conv2d(8, 2, 1))
    whole = Stage("network", 0, 0, "decoder")
    assert stages(net) == Stages({whole: ["0.weight", "0.bias", "2.weight", "2.bias"]}, [], {whole: ["", "0", "1", "2"]})


class Parts(nn.Module):
    """An encoder, a decoder that changes the feature map in place, and a head."""

    def __init__(self, as_module: bool) -> None:
        super().__init__()
        self.as_module = as_module
        self.encoder = nn.Conv2d(3, 4, 1)
        self.decoder = nn.Conv2d(4, 4, 1)
        self.segmentation_head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.encoder(image) if self.as_module else self.encoder.forward(image)
        features += self.decoder(features.detach())
        logits: Tensor = self.segmentation_head(features)
        return logits


@pytest.mark.parametrize("as_module", [True, False])
def test_the_encoder_has_its_own_parameters_however_it_is_called(as_module: bool) -> None:
    found = {stage.name: names for stage, names in stages(Parts(as_module)).stages.items()}
    assert found == {
        "encoder.0": ["encoder.weight", "encoder.bias"],
        "decoder": ["decoder.weight", "decoder.bias"],
        "head": ["segmentation_head.weight", "segmentation_head.bias"],
    }


class DataDependent(nn.Module):
    """Looks at values, which the meta device does not have."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image * float(image.sum().item())]


def test_a_network_that_cannot_run_without_values() -> None:
    net = unet("resnet18", 3)
    net.encoder = DataDependent()
    with pytest.raises(ValueError, match="Unet does not run on the meta device"):
        stages(net)
