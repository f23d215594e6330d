"""Weights from files, against networks of torchvision and timm; an encoder is loaded whole or not at all."""

import copy
import json
import pickle
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import seglab
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import LoadedWeights, description, loaded_weights, network, pretrained_parameters, stages, unet, weights_summary
from seglab.networks.matching import matches
from seglab.networks.weights import load_weights
from seglab.stage import Progress
from seglab.study.description import describe

TINY_IMAGENET = Path(seglab.__file__).parents[2] / "shared" / "weights" / "resnet18-tiny-imagenet.safetensors"
State = dict[str, Tensor]


def drawn(source: nn.Module) -> nn.Module:
    """With norms that are not as they are made: statistics that were not loaded would be seen."""
    generator = torch.Generator().manual_seed(0)
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return source


@cache
def torchvision_state(name: str) -> State:
    return dict(drawn(getattr(torchvision.models, name)(weights=None)).state_dict())


@cache
def timm_state(name: str) -> State:
    return dict(drawn(timm.create_model(name)).state_dict())


def written(state: object, file: Path) -> Path:
    if file.suffix == ".safetensors":
        assert isinstance(state, dict)
        save_file(state, file)
    else:
        torch.save(state, file)
    return file


def encoder_state(net: nn.Module) -> State:
    return dict(net.get_submodule("encoder").state_dict())


def refused(file: Path, encoder: str, architecture: str = "Unet", in_channels: int = 3) -> str:
    with pytest.raises(ValueError, match=re.escape(str(file))) as raised:
        network(architecture, encoder, num_classes=3, weights=file, in_channels=in_channels)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


# where weights come from


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_torchvision_file(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in torchvision_state("resnet18").items()}
    net = unet("resnet18", 3, weights=written(state, tmp_path / f"resnet18{suffix}"))
    own = encoder_state(net)
    assert all(value.dtype in (torch.float32, torch.int64) for value in own.values())
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in own.items())
    assert pretrained_parameters(net) == {f"encoder.{name}" for name, _ in net.get_submodule("encoder").named_parameters()}
    assert description(net) == description(unet("resnet18", 3))


def test_features_are_those_of_torchvision(tmp_path: Path) -> None:
    source: Any = drawn(torchvision.models.resnet18(weights=None)).eval()
    net = unet("resnet18", 3, weights=written(source.state_dict(), tmp_path / "w.pt")).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = [source.relu(source.bn1(source.conv1(image)))]
        for layer in (nn.Sequential(source.maxpool, source.layer1), source.layer2, source.layer3, source.layer4):
            maps.append(layer(maps[-1]))
        torch.testing.assert_close(net.get_submodule("encoder")(image)[1:], maps)


@pytest.mark.parametrize("name", ["densenet121", "vgg11_bn", "mobilenet_v2"])
def test_other_encoders_of_torchvision(tmp_path: Path, name: str) -> None:
    models = torchvision.models
    whole_vgg = models.vgg.make_layers(models.vgg.cfgs["A"], batch_norm=True)  # the rest of a VGG is 500 MB of classifier
    features = whole_vgg if name == "vgg11_bn" else getattr(models, name)(weights=None).features
    state = {f"features.{key}": value for key, value in drawn(features).state_dict().items()}
    net = unet(name, 3, weights=written(state | {"classifier.1.weight": torch.ones(4)}, tmp_path / "w.pt")).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.get_submodule("encoder")(image)[-1], features.eval()(image))


def test_a_densenet_that_torchvision_published_before_it_renamed_its_layers(tmp_path: Path) -> None:
    state = torchvision_state("densenet121")
    old = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for name, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    own = encoder_state(unet("densenet121", 3, weights=written(old, tmp_path / "w.pth")))
    assert all(torch.equal(value, state[name]) for name, value in own.items())


@pytest.mark.parametrize(
    "model",
    ["resnet18", "convnext_atto", "regnetx_002", "mobilenetv3_small_050", "hrnet_w18_small", "densenet121", "mvitv2_tiny", "pvt_v2_b0"],
)
def test_a_timm_file(tmp_path: Path, model: str) -> None:
    source: Any = drawn(timm.create_model(model)).eval()
    encoder = unet(f"tu-{model}", 3, weights=str(written(source.state_dict(), tmp_path / "w.pt"))).get_submodule("encoder").eval()
    side = 224 if model == "mvitv2_tiny" else 64
    image = torch.rand(1, 3, side, side)
    with torch.no_grad():
        theirs = source.forward_intermediates(image, intermediates_only=True)
        torch.testing.assert_close(encoder(image)[-1], theirs[-1])


def test_a_timm_file_of_a_vision_transformer(tmp_path: Path) -> None:
    """The network keeps the encoder's last norm and head, which no output uses: a head of other classes stays new."""
    source: Any = timm.create_model("vit_tiny_patch16_224", num_classes=7).eval()
    net = network("DPT", "tu-vit_tiny_patch16_224", num_classes=3, weights=written(source.state_dict(), tmp_path / "w.pt")).eval()
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        theirs = source.forward_intermediates(image, intermediates_only=True)
        torch.testing.assert_close(net.get_submodule("encoder")(image)[0], [theirs[i] for i in (2, 5, 8, 11)])
    report = loaded_weights(net)
    assert report is not None
    assert report.skipped == ("head.bias", "head.weight")
    assert [name for name in report.missing if name.startswith("encoder.")] == ["encoder.model.head.weight", "encoder.model.head.bias"]


@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto"])
def test_a_whole_network_of_smp(tmp_path: Path, encoder: str) -> None:
    source = smp.FPN(encoder, encoder_weights=None, classes=7)
    net = unet(encoder, 3, weights=written(source.state_dict(), tmp_path / "fpn.pt"))
    torch.testing.assert_close(encoder_state(net), dict(source.encoder.state_dict()), rtol=0, atol=0)
    report = loaded_weights(net)
    assert report is not None
    assert set(report.skipped) == {name for name in source.state_dict() if not name.startswith("encoder.")}


@pytest.mark.parametrize(
    "prefix", ["backbone.", "encoder.", "module.", "module.encoder_q.", "model.", "model.backbone.body.", "_orig_mod."]
)
@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_an_encoder_below_a_prefix(tmp_path: Path, encoder: str, prefix: str) -> None:
    state = {f"{prefix}{name}": value for name, value in torchvision_state("resnet18").items()}
    around = {"head.0.weight": torch.ones(3), "decode.conv1.weight": torch.ones(64, 3, 7, 7)}
    net = unet(encoder, 3, weights=written({"state_dict": state | around, "epoch": 9}, tmp_path / "w.pth"))
    own = {name.removeprefix("model."): value for name, value in encoder_state(net).items()}
    assert all(torch.equal(value, state[prefix + name]) for name, value in own.items())
    report = loaded_weights(net)
    assert report is not None
    assert set(report.skipped) == {"decode.conv1.weight", "head.0.weight", f"{prefix}fc.weight", f"{prefix}fc.bias"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.from_regex(r"[a-z_0-9]{1,9}", fullmatch=True), max_size=4), st.sampled_from(["", "model.", "stages."]))
def test_any_prefix_is_found(path: list[str], last: str) -> None:
    own = {f"model.{name.replace('stages.', 'stages_')}": value for name, value in timm_state("convnext_atto").items()}
    prefix = "".join(f"{word}." for word in path) + last
    best, *others = matches(own, {prefix + name: value for name, value in timm_state("convnext_atto").items()}, 3)
    assert best.fits == {f"model.{name.replace('stages.', 'stages_')}": prefix + name for name in timm_state("convnext_atto")}
    assert not any(len(other.fits) == len(own) for other in others)


def test_an_encoder_that_is_there_twice(tmp_path: Path) -> None:
    """Refuse a query and a key encoder, as contrastive learning keeps: which is wanted is not for us to say."""
    state = torchvision_state("resnet18")
    twice = {f"module.encoder_{letter}.{name}": value for letter in "qk" for name, value in state.items()}
    message = refused(written(twice, tmp_path / "moco.pth"), "resnet18")
    assert "holds the encoder 'resnet18' 2 times, below module.encoder_k., module.encoder_q." in message


@pytest.mark.skipif(not TINY_IMAGENET.exists(), reason="only where the project's own weights are")
def test_the_weights_that_the_project_trained() -> None:
    net = unet("resnet18", 3, weights=TINY_IMAGENET).eval()
    source = torchvision.models.resnet18(num_classes=200).eval()
    source.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in load_file(TINY_IMAGENET).items()}
    )
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        deep = net.get_submodule("encoder")(image)[-1]
        torch.testing.assert_close(source.fc(deep.mean((2, 3))), source(image))
    report = loaded_weights(net)
    assert report is not None
    assert (report.source, report.skipped) == ("resnet18-tiny-imagenet.safetensors", ("fc.bias", "fc.weight"))


# other channels


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("encoder", ["resnet18", "mobileone_s0"])
def test_a_first_layer_takes_other_channels_as_smp_does(tmp_path: Path, encoder: str, channels: int) -> None:
    source = smp.encoders.get_encoder(encoder, weights=None)
    net = network("Unet", encoder, num_classes=3, in_channels=channels, weights=written(source.state_dict(), tmp_path / "w.pt"))
    source.set_in_channels(channels, pretrained=True)
    torch.testing.assert_close(encoder_state(net), dict(source.state_dict()))
    assert stages(net).unreachable == []


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_a_first_layer_takes_other_channels_as_timm_does(tmp_path: Path, channels: int) -> None:
    file = written(timm_state("convnext_atto"), tmp_path / "w.pt")
    theirs = timm.create_model("convnext_atto", pretrained=True, pretrained_cfg_overlay={"file": str(file)}, in_chans=channels)
    net = network("Unet", "tu-convnext_atto", num_classes=3, in_channels=channels, weights=file)
    own = encoder_state(net)
    assert own["model.stem_0.weight"].shape[1] == channels
    torch.testing.assert_close(own["model.stem_0.weight"], theirs.state_dict()["stem.0.weight"])


def test_other_channels_come_from_three_alone(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", in_chans=4).state_dict()
    file = written(state, tmp_path / "w.pt")
    assert "conv1.weight (64,3,7,7) is (64,4,7,7) there" in refused(file, "resnet18")
    assert "conv1.weight (64,5,7,7) is (64,4,7,7) there" in refused(file, "resnet18", in_channels=5)
    assert torch.equal(encoder_state(network(num_classes=3, in_channels=4, weights=file))["conv1.weight"], state["conv1.weight"])


# all or nothing


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_without_any_one_tensor_nothing_is_loaded(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    net = unet("tu-test_resnet", 3)
    before = copy.deepcopy(net.state_dict())
    state = timm.create_model("test_resnet").state_dict()
    needed = [name for name in state if not name.startswith("fc.") and not name.endswith("num_batches_tracked")]
    name = data.draw(st.sampled_from(needed))
    file = tmp_path_factory.mktemp("weights") / "w.pt"
    if data.draw(st.booleans()):
        del state[name]
        message = f"{len(needed) - 1} of {len(needed)} tensors fit; missing model.{name}"
    else:
        state[name] = state[name][..., None]
        message = f"{len(needed) - 1} of {len(needed)} tensors fit; of another shape: model.{name} "
    with pytest.raises(ValueError, match="does not fit the encoder 'tu-test_resnet'") as raised:
        load_weights(net, written(state, file), "tu-test_resnet")
    assert message in str(raised.value)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert loaded_weights(net) is None


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    state = {name: value.to(torch.int8) if name == "conv1.weight" else value for name, value in torchvision_state("resnet18").items()}
    assert "99 of 100 tensors fit" in refused(written(state, tmp_path / "w.pt"), "resnet18")


def test_counts_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = {name: value for name, value in torchvision_state("resnet18").items() if not name.endswith("num_batches_tracked")}
    net = unet("resnet18", 3, weights=written(state, tmp_path / "w.pt"))
    report = loaded_weights(net)
    assert report is not None
    assert {name.rpartition(".")[2] for name in report.missing if name.startswith("encoder.")} == {"num_batches_tracked"}
    assert len(report.loaded) == 100
    assert "num_batches" not in weights_summary(net)


def test_what_no_output_depends_on_may_be_missing(tmp_path: Path) -> None:
    source = smp.encoders.get_encoder("efficientnet-b0", weights=None).state_dict()
    state = {name: value for name, value in source.items() if not name.startswith(("_conv_head.", "_bn1."))}
    assert len(source) - len(state) == 6
    net = unet("efficientnet-b0", 3, weights=written(state, tmp_path / "w.pt"))
    unreachable = set(stages(net).unreachable)
    assert len(unreachable) == 3
    assert pretrained_parameters(net) == {name for name, _ in net.named_parameters() if name.startswith("encoder.")} - unreachable


def test_levels_that_an_architecture_does_not_use_may_be_missing(tmp_path: Path) -> None:
    shallow = {name: value for name, value in torchvision_state("resnet18").items() if not name.startswith(("layer3", "layer4", "fc"))}
    net = network("PSPNet", num_classes=3, weights=written(shallow, tmp_path / "w.pt"))
    assert pretrained_parameters(net) == {
        f"encoder.{name}" for name, value in shallow.items() if not name.endswith(("mean", "var", "tracked"))
    }
    assert "missing layer3.0.conv1.weight" in refused(tmp_path / "w.pt", "resnet18")


def test_weights_of_other_encoders(tmp_path: Path) -> None:
    files = {
        name: written(state, tmp_path / f"{name}.pt")
        for name, state in {
            "r18": torchvision_state("resnet18"),
            "r34": torchvision_state("resnet34"),
            "r50": torchvision_state("resnet50"),
            "se18": timm_state("seresnet18"),
            "nothing": {"word.weight": torch.ones(2)},
        }.items()
    }
    for file, encoder, message in (
        ("r18", "resnet34", "does not fit the encoder 'resnet34': 100 of 180 tensors fit; missing layer1.2.conv1.weight, "),
        ("r34", "resnet18", "is of another encoder than 'resnet18', which has no place for layer1.2.conv1.weight, "),
        ("r50", "resnet18", "does not fit the encoder 'resnet18'.*of another shape: layer1.0.conv1.weight"),
        ("se18", "tu-resnet18", "is of another encoder than 'tu-resnet18', which has no place for layer1.0.se.fc1.weight, "),
        ("r18", "tu-convnext_atto", "has nothing of the encoder 'tu-convnext_atto': expected model.stem_0.weight, .* found conv1.weight"),
        ("r18", "efficientnet-b0", "has nothing of the encoder"),
        ("nothing", "resnet18", "has nothing of the encoder 'resnet18': expected conv1.weight, .* found word.weight"),
    ):
        assert re.search(message, refused(files[file], encoder))


def test_constants_that_old_files_keep_are_skipped(tmp_path: Path) -> None:
    """Swin's index of positions was in its state dict once; now it is computed."""
    index = "layers.0.blocks.0.attn.relative_position_index"
    state = timm_state("swin_tiny_patch4_window7_224") | {index: torch.zeros(49, 49, dtype=torch.int64)}
    report = loaded_weights(unet("tu-swin_tiny_patch4_window7_224", 3, weights=written(state, tmp_path / "w.pt")))
    assert report is not None
    assert index in report.skipped


@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-mvitv2_tiny"])
def test_a_whole_file_fits_an_encoder_that_ends_early(tmp_path: Path, encoder: str) -> None:
    """PSPNet uses three levels of an encoder, and timm leaves the other blocks out."""
    file = written(timm_state(encoder.removeprefix("tu-")), tmp_path / "w.pt")
    assert pretrained_parameters(network("PSPNet", encoder, num_classes=3, weights=file))


def test_files_that_hold_no_weights_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello world")
    (tmp_path / "folder.pt").mkdir()
    assert "holds no weights" in refused(tmp_path / "text.pt", "resnet18")
    assert "is a folder" in refused(tmp_path / "folder.pt", "resnet18")
    with pytest.raises(ValueError, match="there is no file"):
        unet("resnet18", 3, weights=tmp_path / "absent.pt")


# the report


def test_the_report(tmp_path: Path) -> None:
    net = unet("resnet18", 3, weights=written(torchvision_state("resnet18"), tmp_path / "r18.pt"))
    whole = net.state_dict()
    assert loaded_weights(net) == LoadedWeights(
        source="r18.pt",
        loaded=tuple(name for name in whole if name.startswith("encoder.")),
        skipped=("fc.bias", "fc.weight"),
        missing=tuple(name for name in whole if not name.startswith("encoder.")),
    )
    decoder, head = (sum(p.numel() for p in net.get_submodule(part).parameters()) for part in ("decoder", "segmentation_head"))
    assert weights_summary(net).splitlines() == [
        "from r18.pt: encoder 100 tensors (11,176,512 parameters)",  # torchvision's 11,689,512 without the 513,000 of fc
        "skipped in the file: fc.bias, fc.weight",
        f"new: decoder 50 tensors ({decoder:,} parameters), head 2 tensors ({head:,} parameters)",
    ]


def test_a_long_list_is_cut_short(tmp_path: Path) -> None:
    state = torchvision_state("resnet18") | {f"more.{i}": torch.ones(1) for i in range(4)}
    net = unet("resnet18", 3, weights=written(state, tmp_path / "r18.pt"))
    assert weights_summary(net).splitlines()[1] == "skipped in the file: fc.bias, fc.weight, more.0 and 3 more"


def test_the_report_stays_with_copies(tmp_path: Path) -> None:
    net = unet("tu-test_resnet", 3, weights=written(timm_state("test_resnet"), tmp_path / "w.pt"))
    assert loaded_weights(copy.deepcopy(net)) == loaded_weights(net)
    assert pickle.loads(pickle.dumps(loaded_weights(net))) == loaded_weights(net)


def test_a_run_is_the_same_wherever_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = written(timm_state("test_resnet"), tmp_path / "w.pt")
    second = Path(shutil.copy(file, tmp_path / "elsewhere" / "w.pt"))
    start = Progress(0, 10, 5)

    def described(weights: Path | None) -> dict[str, Any]:
        def arm() -> SegmentationModule:
            return SegmentationModule(unet("tu-test_resnet", 3, weights=weights), CrossEntropy(), num_classes=3)

        return describe(arm, start)

    assert described(file) == described(second)
    assert str(tmp_path) not in json.dumps(described(file))
    assert described(file)["start"] != described(None)["start"]
