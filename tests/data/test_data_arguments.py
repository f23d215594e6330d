"""`balanced_images`, `crop` and `balanced_crops`, for every data set: as flags, in the identity, and what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from seglab.data import SegmentationDataModule, SegmentationDataset, Split
from tests.data.masks import Masks, rare
from tests.data.test_data_fraction import EVERY, Maker, a_camvid, a_folder, a_shapes

NEW = {"balanced_images": 0.25, "crop": (2, 3), "balanced_crops": 0.5}


@EVERY
def test_the_identity_tells_what_is_used_and_nothing_else(make: Maker, tmp_path: Path) -> None:
    plain = make(tmp_path).identity()
    assert not plain["arguments"].keys() & NEW.keys(), "records from before there was any of it stay as they were"
    assert make(tmp_path, balanced_images=0, crop=None, balanced_crops=0).identity() == plain
    for names in (("balanced_images",), ("crop",), ("crop", "balanced_crops"), tuple(NEW)):
        data = make(tmp_path, **{name: NEW[name] for name in names})
        told = data.identity()
        assert told == data.with_seed(4).identity()
        assert told["arguments"] == {**plain["arguments"], **{name: [2, 3] if name == "crop" else NEW[name] for name in names}}
        assert {**told, "arguments": None} == {**plain, "arguments": None}


def test_identities_of_before_stay(tmp_path: Path) -> None:
    own = {"num_train", "num_val", "num_test", "image_size", "num_shapes", "noise", "label_noise", "batch_size", "size", "augment"}
    assert a_shapes(tmp_path).identity()["arguments"].keys() == own
    assert a_folder(tmp_path).identity()["arguments"].keys() == {"num_classes", "class_names", "void", "batch_size", "size", "augment"}
    assert a_camvid(tmp_path).identity()["arguments"].keys() == {"train_fraction", "batch_size", "size", "augment"}


def test_a_users_data_need_not_know_of_it() -> None:
    class Plain(SegmentationDataModule):
        class_names = Masks.class_names

        def __init__(self, batch_size: int = 2) -> None:
            super().__init__(batch_size=batch_size, num_workers=0)

        def dataset(self, split: Split) -> SegmentationDataset:
            return rare(4)

    assert Plain().identity()["arguments"] == {"batch_size": 2}
    assert len(list(Plain().train_dataloader())) == 2
    assert Plain().class_pixels().shape == (4, 3)

    class Always(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.crop = (2, 2)

    assert Always().identity()["arguments"] == {"crop": [2, 2]}


@EVERY
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"balanced_images": 1.1}, "balanced_images is 1.1: expected 0, which balances nothing, to 1"),
        ({"balanced_images": -0.1}, "balanced_images is -0.1: expected 0"),
        ({"balanced_images": math.nan}, "balanced_images is nan: expected 0"),
        ({"crop": (8, 8), "balanced_crops": 2}, "balanced_crops is 2: expected 0"),
        ({"balanced_crops": 0.5}, "balanced_crops is 0.5, but there are no crops: give crop their rows and columns as well"),
        ({"crop": (0, 8)}, r"crop is \[0, 8\]: expected rows and columns of at least 1, or None to train on whole images"),
        ({"crop": (8,)}, r"crop is \[8\]: expected rows and columns"),
    ],
)
def test_what_cannot_be_is_refused(make: Maker, arguments: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **arguments)


@pytest.mark.parametrize("module", ["Shapes", "ImageMaskFolder", "CamVid"])
def test_the_flags_are_there_for_every_data_set(module: str, tmp_path: Path) -> None:
    def study(data: SegmentationDataModule) -> SegmentationDataModule:
        return data

    a_folder(tmp_path)
    flags = {"Shapes": [], "ImageMaskFolder": ["--data.num_classes", "3"], "CamVid": []}[module]
    flags += [] if module == "Shapes" else ["--data.root", str(tmp_path / "folder")]
    flags += ["--data.crop", "[2,3]", "--data.balanced_crops", "0.5", "--data.balanced_images", "1"]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(study)
    data = parser.instantiate(parser.parse_args(["--data", module, *flags])).data
    assert (data.crop, data.balanced_crops, data.balanced_images) == ((2, 3), 0.5, 1.0)
