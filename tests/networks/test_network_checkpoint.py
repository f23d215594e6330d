"""From a source task to a target task: the checkpoints that Lightning saves of a real training."""

from pathlib import Path

import pytest
import torch
from torch import nn

from seglab.data import SegmentationDataModule, Shapes
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import loaded_weights, network, pretrained_parameters, weights_summary
from tests.trainers import quiet_trainer

ENCODER = "tu-test_resnet"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a U-Net for the four classes of Shapes, a step after its start."""
    data = SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=32, num_shapes=2), batch_size=4, num_workers=0)
    return trained(network("Unet", ENCODER, num_classes=4), tmp_path_factory.mktemp("source") / "source.ckpt", data)


def trained(net: nn.Module, file: Path, data: SegmentationDataModule) -> Path:
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(SegmentationModule(net, CrossEntropy(), num_classes=4), datamodule=data)
    trainer.save_checkpoint(file)
    return file


def parts(net: nn.Module, file: Path) -> set[str]:
    """The parts of which every tensor is the checkpoint's; they are those that are pretrained."""
    state = torch.load(file)["state_dict"]
    found = {
        part
        for part, module in net.named_children()
        if all(
            f"network.{part}.{name}" in state and torch.equal(value, state[f"network.{part}.{name}"])
            for name, value in module.state_dict().items()
        )
    }
    assert {name.partition(".")[0] for name in pretrained_parameters(net)} == found
    assert pretrained_parameters(net) == {name for name, _ in net.named_parameters() if name.partition(".")[0] in found}
    return found


@pytest.mark.parametrize(
    ("architecture", "classes", "expected"),
    [
        ("Unet", 4, {"encoder", "decoder", "segmentation_head"}),
        ("Unet", 7, {"encoder", "decoder"}),
        ("FPN", 4, {"encoder"}),
        ("FPN", 7, {"encoder"}),
    ],
)
def test_what_is_the_same_is_taken(source: Path, architecture: str, classes: int, expected: set[str]) -> None:
    net = network(architecture, ENCODER, num_classes=classes, weights=source)
    assert parts(net, source) == expected
    report = loaded_weights(net)
    assert report is not None
    assert report.source == "source.ckpt"
    assert set(report.loaded) == {name for name in net.state_dict() if name.partition(".")[0] in expected}
    assert set(report.loaded) | set(report.missing) == set(net.state_dict())
    state = torch.load(source)["state_dict"]
    assert set(report.skipped) == {name for name in state if name.startswith("network.") and name.split(".")[1] not in expected}
    *_, last = weights_summary(net).splitlines()
    assert last == "new: nothing" if len(expected) == 3 else "head 2 tensors" in last


def test_three_channels_serve_four(source: Path) -> None:
    net = network("Unet", ENCODER, num_classes=7, weights=source, in_channels=4)
    first = "encoder.model.conv1.0.weight"
    theirs = torch.load(source)["state_dict"][f"network.{first}"]
    own = net.state_dict()[first]
    torch.testing.assert_close(own, 3 / 4 * theirs[:, [0, 1, 2, 0]])
    assert first in pretrained_parameters(net)
    assert {name.partition(".")[0] for name in pretrained_parameters(net)} == {"encoder", "decoder"}


def test_another_encoder_is_refused(source: Path) -> None:
    with pytest.raises(ValueError, match=r"source.ckpt, a checkpoint of Unet on tu-test_resnet, .*the encoder 'resnet18'") as raised:
        network("Unet", "resnet18", num_classes=4, weights=source)
    assert "\n" not in str(raised.value)


def test_a_network_without_an_encoder_is_refused(tmp_path: Path, shapes: SegmentationDataModule) -> None:
    file = trained(nn.Conv2d(3, 4, 1), tmp_path / "own.ckpt", shapes)
    with pytest.raises(ValueError, match=r"own.ckpt, a checkpoint of Conv2d, has nothing of the encoder 'resnet18'.* found none"):
        network("Unet", "resnet18", num_classes=4, weights=file)


def test_checkpoints_of_other_projects_give_the_encoder(source: Path, tmp_path: Path) -> None:
    """A Lightning checkpoint without seglab's description: its only state dict holds the encoder below a prefix."""
    content = torch.load(source)
    del content["seglab"]
    torch.save(content, tmp_path / "theirs.ckpt")
    assert parts(network("Unet", ENCODER, num_classes=4, weights=tmp_path / "theirs.ckpt"), source) == {"encoder"}


def test_damaged_checkpoints(source: Path, tmp_path: Path) -> None:
    content = torch.load(source)
    del content["state_dict"]
    torch.save(content, tmp_path / "less.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(source.read_bytes()[:5000])
    for file, message in (
        ("less.ckpt", "without its state_dict"),
        ("cut.ckpt", "holds no weights: it is damaged"),
        ("no.ckpt", "there is no"),
    ):
        with pytest.raises(ValueError, match=message):
            network("Unet", ENCODER, num_classes=4, weights=tmp_path / file)
