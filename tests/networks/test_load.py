"""`seglab.load`: logits equal those of the trained module bit for bit, and a failed load says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

import seglab
from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, TrainedNetwork
from seglab.networks import network, unet
from seglab.networks.batch_norm import JointBatchNorm
from tests.nets import Small
from tests.trainers import quiet_trainer

ENCODER = "tu-test_resnet"


class Weighted(SegmentationModule):
    """A module with a forward pass of its own."""

    def forward(self, image: Tensor) -> Tensor:
        return 2 * super().forward(image)


def fitted(folder: Path, net: nn.Module, kind: type[SegmentationModule] = SegmentationModule) -> SegmentationModule:
    """A module that has trained for two epochs, and its checkpoint `folder/checkpoints/last.ckpt`."""
    torch.manual_seed(0)
    data = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
    module = kind(net, CrossEntropy(), num_classes=4, mean=(0.3, 0.4, 0.5))
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return module.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SegmentationModule]:
    folder = tmp_path_factory.mktemp("run")
    return folder, fitted(folder, network("FPN", ENCODER, num_classes=4))


def drawn(height: int, width: int, channels: int = 3, images: int = 2) -> Tensor:
    return torch.randint(0, 256, (images, channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (7, 100)])
@pytest.mark.parametrize("images", [lambda x: x, lambda x: (x.int() * 257).to(torch.uint16), lambda x: x / 255])
def test_logits_are_those_of_the_module(
    run: tuple[Path, SegmentationModule], images: Callable[[Tensor], Tensor], size: tuple[int, int]
) -> None:
    folder, module = run
    loaded = seglab.load(folder)
    with torch.no_grad():
        logits, expected = loaded(images(drawn(*size))), module(images(drawn(*size)))
    assert torch.equal(logits, expected)
    assert logits.shape == (2, 4, *size)


def test_what_is_loaded(run: tuple[Path, SegmentationModule]) -> None:
    folder, module = run
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loaded = seglab.load(str(folder / "checkpoints" / "last.ckpt"))
    assert torch.equal(torch.get_rng_state(), before), "loading takes no random numbers"
    assert isinstance(loaded, TrainedNetwork)
    assert isinstance(loaded, nn.Module)
    assert not any(part.training for part in loaded.modules())
    assert loaded.class_names == ("background", "disc", "square", "triangle")
    assert (loaded.in_channels, loaded.image_dtype) == (3, "uint8")
    assert torch.equal(loaded.mean, module.mean)
    assert torch.equal(loaded.std, module.std)
    assert all(torch.equal(value, module.network.state_dict()[name]) for name, value in loaded.network.state_dict().items())


def test_a_network_of_one_s_own_is_given(tmp_path: Path) -> None:
    module = fitted(tmp_path, Small())
    with pytest.raises(ValueError, match=r"tests.nets.Small is no network of segmentation_models_pytorch.*seglab.load\(path, network\)"):
        seglab.load(tmp_path)
    loaded = seglab.load(tmp_path, Small())
    with torch.no_grad():
        assert torch.equal(loaded(drawn(9, 13)), module(drawn(9, 13)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Small(norm=False), "the network given, a Small, differs from the one that was trained, segmentation_models_pytorch.FPN"),
        (lambda: unet(ENCODER, 4), "the network given, a Unet, differs"),
        (lambda: network("FPN", ENCODER, num_classes=3), "the network given, a FPN, differs .* with the same arguments"),
    ],
)
def test_another_network_is_refused(run: tuple[Path, SegmentationModule], given: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seglab.load(run[0], given())


def relus(net: nn.Module) -> nn.Module:
    """The network with other activations, which the names and shapes of its weights do not show."""
    net.get_submodule("decoder.blocks.0.conv1")[2] = nn.GELU()  # type: ignore[operator]
    return net


def test_a_network_that_was_changed_after_it_was_built_is_not_built_again(tmp_path: Path) -> None:
    module = fitted(tmp_path, relus(unet(ENCODER, 4)))
    with pytest.raises(
        ValueError, match=r"the Unet of its description has other layers than the one that was trained.*load\(path, network\)"
    ):
        seglab.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(seglab.load(tmp_path, relus(unet(ENCODER, 4)))(drawn(9, 13)), module(drawn(9, 13)))


def test_settings_of_layers_are_compared_where_the_libraries_write_them_alike(tmp_path: Path) -> None:
    """Here a stride, which no name and no shape shows.

    Under other versions a library may write the same layer in other words.
    """
    fitted(tmp_path, nn.Conv2d(3, 4, 3, padding=1))
    with pytest.raises(ValueError, match="the network given, a Conv2d, differs"):
        seglab.load(tmp_path, nn.Conv2d(3, 4, 3, padding=1, stride=2))
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    content["seglab"]["network"] |= {"libraries": "torch 1.0", "repr_sha256": "other"}
    torch.save(content, tmp_path / "checkpoints" / "last.ckpt")
    seglab.load(tmp_path, nn.Conv2d(3, 4, 3, padding=1))
    with pytest.raises(ValueError, match="the network given, a Sequential, differs"):
        seglab.load(tmp_path, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("on_gpu", [True, False])
def test_batch_norms_of_several_processes_are_loaded_as_those_of_one(on_gpu: bool, own: bool, tmp_path: Path) -> None:
    net = Small() if own else unet(ENCODER, 4)
    module = SegmentationModule(JointBatchNorm(on_gpu).apply(net), CrossEntropy(), num_classes=4).eval()
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, tmp_path / "last.ckpt")
    loaded = seglab.load(tmp_path / "last.ckpt", Small() if own else None)
    assert any(type(part) in (nn.BatchNorm2d, BatchNormAct2d) for part in loaded.modules())
    if not on_gpu:  # torch computes its own joint norms on GPUs only
        with torch.no_grad():
            assert torch.equal(loaded(drawn(9, 13)), module(drawn(9, 13)))


def test_a_forward_pass_of_the_module_s_own_is_not_left_out(tmp_path: Path) -> None:
    fitted(tmp_path, unet(ENCODER, 4), Weighted)
    with pytest.raises(ValueError, match=r"trained by tests.networks.test_load.Weighted.forward, which the file does not hold"):
        seglab.load(tmp_path)


def test_grey_images_are_repeated_as_in_the_training(run: tuple[Path, SegmentationModule], tmp_path: Path) -> None:
    folder, module = run
    grey = drawn(9, 13, channels=1)
    with torch.no_grad():
        assert torch.equal(seglab.load(folder)(grey), module(grey))
        assert torch.equal(seglab.load(folder)(grey), module(grey.expand(-1, 3, -1, -1)))
    alone = SegmentationModule(unet(ENCODER, 4), CrossEntropy(), num_classes=4, mean=(0.5,), std=(0.5,))
    content: dict[str, Any] = {"state_dict": alone.state_dict()}
    alone.on_save_checkpoint(content)
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"expected \(N,3,H,W\)"):
        seglab.load(tmp_path / "last.ckpt")(grey)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (drawn(8, 8)[0], r"shape \(3, 8, 8\): expected \(N,3,H,W\).*image\[None\]"),
        (drawn(8, 8).movedim(1, 3), r"shape \(2, 8, 8, 3\): expected \(N,3,H,W\).*permute"),
        (drawn(8, 8, channels=4), r"expected \(N,3,H,W\)"),
        (drawn(8, 8).long(), r"images are torch.int64: expected torch.uint8"),
        (drawn(8, 8).bool(), r"images are torch.bool"),
        (drawn(8, 8).float(), r"values from 0 to 255: expected 0 to 1, as the network was trained on uint8"),
        (drawn(8, 8) / 255 - 0.5, r"values from -0.5 to 0.5"),
        (torch.full((1, 3, 8, 8), torch.nan), r"values from nan to nan"),
    ],
)
def test_images_that_the_network_has_not_been_trained_for(run: tuple[Path, SegmentationModule], image: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seglab.load(run[0])(image)


def test_what_cannot_be_loaded(run: tuple[Path, SegmentationModule], tmp_path: Path) -> None:
    content = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save({**content, "state_dict": {**content["state_dict"], "network.more": torch.ones(1)}}, tmp_path / "more.ckpt")
    torch.save({"seglab": content["seglab"]}, tmp_path / "less.ckpt")
    whole = (run[0] / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 2
    (tmp_path / "bit.ckpt").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    (tmp_path / "begun" / "checkpoints" / "resume.ckpt").write_bytes(whole)
    for name, message in {
        "other.ckpt": "no checkpoint of seglab",
        "less.ckpt": "no checkpoint of seglab",
        "more.ckpt": r"do not fit the network that it describes: .*Unexpected key.*more",
        "cut.ckpt": "cut.ckpt holds no weights: it is damaged",
        "bit.ckpt": "bit.ckpt holds no weights: it is damaged",
        "nowhere": "is no file; expected a checkpoint such as",
        ".": r"has no checkpoints/last.ckpt; expected .* runs/regularization/none/seed-0",
        "begun": r"has no checkpoints/last.ckpt \(the run has not ended\)",
    }.items():
        with pytest.raises(ValueError, match=message) as raised:
            seglab.load(tmp_path / name)
        assert "\n" not in str(raised.value), name
        assert str(tmp_path) in str(raised.value)
