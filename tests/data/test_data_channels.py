"""The channels of images, network, mean and std are compared before any writing, and all bands reach the network."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from rich.console import Console

from seglab import cli
from seglab.data import ImageMaskFolder, SegmentationDataModule
from seglab.data.check import check_channels
from seglab.data.contents import Format
from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.networks import network
from seglab.records import Run
from seglab.running.plan import Plan, Script
from seglab.running.resources import Resources
from seglab.script.supervise import prepare
from seglab.study.study import Study
from tests.trainers import quiet_trainer

HALF = {1: [0.5], 3: [0.5] * 3, 6: [0.5] * 6}


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    """Write three images of 32×32 pixels and six bands of uint16 a split, and signed masks of two classes.

    The first row of each mask is -1.
    """
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "bands" / split / kind).mkdir(parents=True)
        for number in range(3):
            image, mask = rng.integers(0, 65536, (32, 32, 6)).astype(np.uint16), rng.integers(0, 2, (32, 32)).astype(np.int16)
            mask[0] = -1
            file = tmp_path / "bands" / split / "images" / f"{number}.tif"
            tifffile.imwrite(file, image, photometric="minisblack", planarconfig="contig", compression="lzw")
            np.save(tmp_path / "bands" / split / "masks" / f"{number}.npy", mask)
    return tmp_path / "bands"


def data_of(bands: Path) -> SegmentationDataModule:
    return SegmentationDataModule(ImageMaskFolder(bands, num_classes=2, void=-1), batch_size=2, num_workers=0)


def module_of(channels: int, values: int) -> SegmentationModule:
    built = network("Unet", "tu-test_resnet", num_classes=2, in_channels=channels)
    return SegmentationModule(built, CrossEntropy(), num_classes=2, mean=HALF[values], std=HALF[values])


def plan_of(bands: Path, channels: int, values: int) -> Plan:
    study = Study("bands", data=data_of(bands), epochs=1, seeds=range(1), baseline="a", arms={"a": lambda: module_of(channels, values)})
    return Plan(study, bands.parent / "runs", Script(("script.py",)), Resources())


@pytest.mark.parametrize(
    ("channels", "values", "message"),
    [
        (
            6,
            3,
            "the images have 6 channels of uint16, and mean has 3 values: give SegmentationModule mean and std of 6 values, or of",
        ),
        (3, 1, "the images have 6 channels of uint16, and the network takes 3: build it with in_channels=6"),
    ],
)
def test_a_study_of_other_channels_is_refused_before_anything_is_written(bands: Path, channels: int, values: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        prepare(plan_of(bands, channels, values), Console(file=io.StringIO()))
    assert "\n" not in str(caught.value)
    assert caught.value.__notes__ == ["arm a"]
    assert not (bands.parent / "runs").exists()


@pytest.mark.parametrize("values", [1, 6])
def test_a_study_of_the_same_channels_is_prepared(bands: Path, values: int) -> None:
    assert prepare(plan_of(bands, 6, values), Console(file=io.StringIO())) == [Run("bands", "a", 0)]


def test_all_bands_train_the_network(bands: Path) -> None:
    """Other values of the last band give other weights."""
    weights = []
    for last in (0, 65535):
        for file in (bands / "train" / "images").iterdir():
            image = tifffile.imread(file)
            image[..., 5] = last
            tifffile.imwrite(file, image, photometric="minisblack", planarconfig="contig", compression="lzw")
        torch.manual_seed(0)
        module = module_of(6, 6)
        quiet_trainer(max_epochs=1).fit(module, datamodule=data_of(bands))
        weights.append(next(module.network.parameters()).detach()[:, 5].clone())
    assert not torch.equal(*weights)


def test_modules_of_ones_own_may_convert_images() -> None:
    class Own(SegmentationModule):
        pass

    own = Own(network("Unet", "tu-test_resnet", num_classes=2), CrossEntropy(), num_classes=2)
    own.check_images(Format(6, torch.uint16))
    with pytest.raises(ValueError, match="the images have 6 channels of uint16, and mean has 3 values"):
        module_of(3, 3).check_images(Format(6, torch.uint16))


@pytest.mark.parametrize(
    ("channels", "taken", "mean", "std", "fits"),
    [
        (3, 3, 3, 3, True), (3, 3, 1, 1, True), (3, None, 3, 1, True), (1, 1, 1, 1, True), (1, 3, 3, 3, True), (6, None, 1, 1, True),
        (1, 1, 3, 3, False), (1, 3, 1, 1, False), (4, 4, 3, 3, False), (4, 3, 1, 1, False), (4, None, 4, 3, False), (3, 1, 1, 1, False),
    ],
)  # fmt: skip
def test_channels_fit_if_normalised_images_have_those_of_the_network(
    channels: int, taken: int | None, mean: int, std: int, fits: bool
) -> None:
    values = [0.0] * mean, [1.0] * std
    if fits:
        check_channels(Format(channels, torch.uint8), taken, *values)
        image = (torch.zeros(1, channels, 2, 2) - torch.zeros(1, mean, 1, 1)) / torch.ones(1, std, 1, 1)
        assert taken in (None, image.shape[1])
    else:
        with pytest.raises(ValueError, match=f"the images have {channels} channel"):
            check_channels(Format(channels, torch.uint8), taken, *values)


@pytest.mark.filterwarnings(r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)")
def test_fit_refuses_other_channels_in_one_line(bands: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(bands.parent)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    source = ("--data.source", "ImageMaskFolder", "--data.source.root", "bands", "--data.source.num_classes", "2", "--data.source.void=-1")
    built = ("--model.network", "seglab.networks.network", "--model.network.encoder", "tu-test_resnet", "--model.network.num_classes", "2")
    monkeypatch.setattr("sys.argv", ["seglab", "fit", *source, *built, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "error: the images have 6 channels of uint16, and mean has 3 values" in capfd.readouterr().err
