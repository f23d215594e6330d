"""Miniatures of published data sets in their real layouts: splits, labels, names, messages about missing files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seglab.data import (
    ADE20K,
    COCO,
    SPLITS,
    VOC,
    Cityscapes,
    OxfordPets,
    SegmentationDataModule,
    SegmentationSource,
    Split,
    default_palette,
)
from tests.data.published import (
    CITYSCAPES_LABELS,
    PETS_TEST,
    PETS_TRAINVAL,
    SBD_ONLY,
    SIZE,
    VOC_TRAIN,
    VOC_VAL,
    ade20k,
    annotation,
    box,
    cityscapes,
    coco,
    pets,
    sbd_mat,
    sbd_png,
    values,
    voc,
)

OBJECTS = [annotation(1, 2, 18, box(0, 0, 4, 4))]
SOURCES: dict[str, Callable[[Path], SegmentationSource]] = {
    "Cityscapes": lambda root: Cityscapes(cityscapes(root)),
    "VOC": lambda root: VOC(voc(root)),
    "OxfordPets": lambda root: OxfordPets(pets(root)),
    "ADE20K": lambda root: ADE20K(ade20k(root)),
    "COCO": lambda root: COCO(coco(root, OBJECTS)),
}


def stems(source: SegmentationSource, split: Split) -> list[str]:
    dataset = source.split(split)
    return [Path(dataset[index].name).stem for index in range(len(dataset))]


def first_mask(source: SegmentationSource, split: Split = "train") -> list[int]:
    return source.split(split)[0].mask.flatten().tolist()


@pytest.mark.parametrize("name", SOURCES)
def test_the_whole_of_it_is_read_and_no_sample_is_in_two_splits(name: str, tmp_path: Path) -> None:
    data = SegmentationDataModule(SOURCES[name](tmp_path), batch_size=1, num_workers=0)
    checked = data.check()
    assert checked.images is not None
    assert (checked.images.channels, checked.images.dtype) == (3, torch.uint8)
    names = [set(stems(data.source, split)) for split in SPLITS]
    assert all(names)
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert next(iter(data.train_dataloader())).mask.shape == (1, *SIZE)
    assert data.palette.shape == (data.num_classes, 3)
    assert len({tuple(colour) for colour in data.palette.tolist()}) >= data.num_classes - 1, "ADE20K gives two classes one grey"


@pytest.mark.parametrize("name", SOURCES)
def test_where_the_data_lie_changes_no_identity_and_a_changed_mask_does(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path / "a")
    one, other = (SegmentationDataModule(one).identity()["splits"] for one in (source, SOURCES[name](tmp_path / "b")))
    assert one == other
    changed = Path(str(source.split("test").mask_file(0)).partition(": ")[0])  # type: ignore[attr-defined]
    content = changed.read_bytes()
    changed.write_bytes(content.replace(b'category_id": 18', b'category_id": 90') if changed.suffix == ".json" else content + b"\0")
    again = SegmentationDataModule(source).identity()["splits"]
    assert again["test"] != one["test"]
    assert again["val"] == one["val"]


@pytest.mark.parametrize("name", SOURCES)
def test_an_empty_folder_is_answered_with_the_expected_files(name: str, tmp_path: Path) -> None:
    kind = {"Cityscapes": Cityscapes, "VOC": VOC, "OxfordPets": OxfordPets, "ADE20K": ADE20K, "COCO": COCO}[name]
    how = "needs an account" if name == "Cityscapes" else f"`seglab download {name} --root D`"
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"no such f|no folder") as raised:
            kind(root)
        assert how in str(raised.value)
        assert str(root) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_cityscapes_has_the_19_evaluated_classes_and_keeps_cities_together(tmp_path: Path) -> None:
    from torchvision.datasets import Cityscapes as Official

    source = Cityscapes(str(cityscapes(tmp_path)))  # type: ignore[arg-type]  # a string will do
    train_id = {kind.id: kind.train_id for kind in Official.classes}
    assert first_mask(source) == [train_id[label] for label in values(*CITYSCAPES_LABELS).flatten().tolist()]
    evaluated = sorted((kind for kind in Official.classes if 0 <= kind.train_id < 255), key=lambda kind: kind.train_id)
    assert source.class_names == tuple(kind.name for kind in evaluated)
    assert source.palette.tolist() == [list(kind.color) for kind in evaluated]
    groups = {split: source.groups(split) for split in SPLITS}
    assert groups["val"] == ["dusseldorf"] * 2 + ["monchengladbach"] * 2 + ["zurich"] * 2
    assert groups["train"] == ["aachen"] * 2 + ["ulm"] * 2
    assert groups["test"] == ["frankfurt"] * 2 + ["lindau"] * 2
    assert all(name.startswith(city) for split in SPLITS for name, city in zip(stems(source, split), groups[split], strict=True))
    assert source.split("train")[0].name == "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
            r"aachen_000000_000019_gtFine_labelIds.png: no such file; expected",
        ),
        ("gtFine", r"labelIds.png: no such file \(3 other files are missing too\); expected leftImg8bit"),
        ("leftImg8bit/train/zurich", r"zurich: no such folder; this city is held out for validation"),
        ("leftImg8bit/val", r"leftImg8bit/val: no such folder"),
    ],
)
def test_what_cityscapes_lacks_is_named(tmp_path: Path, gone: str, message: str) -> None:
    import shutil

    path = cityscapes(tmp_path) / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=message):
        Cityscapes(tmp_path)


def test_voc_holds_out_every_tenth_name_and_reads_indices_of_a_palette(tmp_path: Path) -> None:
    source = VOC(voc(tmp_path))
    assert stems(source, "val") == [VOC_TRAIN[9], VOC_TRAIN[19]]
    assert stems(source, "train") == [name for name in VOC_TRAIN if name not in (VOC_TRAIN[9], VOC_TRAIN[19])]
    assert stems(source, "test") == list(VOC_VAL)
    assert first_mask(source) == values(0, 15, 255, 20).flatten().tolist()
    assert [source.class_names[label] for label in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]
    assert source.palette[[0, 1, 15, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128]]  # of the development kit
    assert np.array_equal(source.palette, default_palette(21))
    assert VOC(tmp_path / "VOCdevkit" / "VOC2012").split("train")[0].name == source.split("train")[0].name


@pytest.mark.parametrize("write", [sbd_mat, sbd_png])
def test_sbd_adds_training_images_and_leaves_validation_and_test_as_they_are(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(voc(tmp_path))
    plain, more = VOC(tmp_path), VOC(tmp_path, sbd=True)
    assert stems(more, "train") == [*stems(plain, "train"), *SBD_ONLY]
    assert [stems(more, split) for split in ("val", "test")] == [stems(plain, split) for split in ("val", "test")]
    train = more.split("train")
    assert train[len(train) - 1].mask.flatten().tolist() == values(0, 7).flatten().tolist()
    assert train[0].mask.flatten().tolist() == values(0, 15, 255, 20).flatten().tolist(), "VOC's own masks have finer outlines"
    SegmentationDataModule(more).check()
    assert SegmentationDataModule(more).identity()["splits"]["train"]["samples"] == 21


def test_what_sbd_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset/train.txt: no such file; expected .*`seglab download SBD --root D`"):
        VOC(voc(tmp_path), sbd=True)
    sbd_mat(tmp_path)
    mat = tmp_path / "VOCdevkit" / "VOC2012" / "benchmark_RELEASE" / "dataset" / "cls" / f"{SBD_ONLY[0]}.mat"
    mat.write_bytes(mat.read_bytes()[:-40])
    train = VOC(tmp_path, sbd=True).split("train")
    with pytest.raises(ValueError, match=rf"{SBD_ONLY[0]}.mat: cannot be read as a mask of SBD"):
        train[len(train) - 2]
    mat.unlink()
    with pytest.raises(ValueError, match=rf"{SBD_ONLY[0]}.mat: no such file; expected in the folder VOC2012"):
        VOC(tmp_path, sbd=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.txt: names no sample"),
        ("# only a comment\n", "train.txt: names no sample"),
        ("2007_000001\n2007_000001\n", "train.txt: names 2007_000001 twice"),
        ("2099_000001\n" * 1 + "2007_000002\n" * 1 + "\n".join(VOC_TRAIN[3:12]), "2099_000001.jpg: no such file"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (voc(tmp_path) / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        VOC(tmp_path)


@pytest.mark.parametrize(("border", "third"), [("void", 255), ("pet", 1), ("class", 2)])
def test_the_border_of_a_pet_is_void_or_the_pet_or_a_class(tmp_path: Path, border: str, third: int) -> None:
    source = OxfordPets(pets(tmp_path), border=border)  # type: ignore[arg-type]  # one of its words
    assert first_mask(source) == values(1, 0, third).flatten().tolist()
    assert source.class_names == ("background", "pet", *(["border"] if border == "class" else []))
    assert stems(source, "val") == [PETS_TRAINVAL[9], PETS_TRAINVAL[19]]
    assert len(stems(source, "train")) == 18
    assert stems(source, "test") == list(PETS_TEST)


def test_a_border_of_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="border is 'foreground': expected one of void, pet, class"):
        OxfordPets(tmp_path, border="foreground")  # type: ignore[arg-type]


def test_ade20k_begins_at_label_one(tmp_path: Path) -> None:
    source = ADE20K(ade20k(tmp_path))
    assert first_mask(source) == values(255, 0, 149).flatten().tolist()
    assert (len(source.class_names), source.class_names[0], source.class_names[149]) == (150, "wall", "flag")
    assert len(set(source.class_names)) == 150
    assert source.palette[[0, 2, 149]].tolist() == [[120, 120, 120], [6, 230, 230], [92, 0, 255]]
    assert [len(source.split(split)) for split in SPLITS] == [18, 2, 3]
    assert ADE20K(tmp_path / "ADEChallengeData2016").split("val")[0].name == source.split("val")[0].name


def test_an_image_of_ade20k_without_its_mask_is_named(tmp_path: Path) -> None:
    (ade20k(tmp_path) / "ADEChallengeData2016" / "annotations" / "training" / "ADE_train_00000005.png").unlink()
    with pytest.raises(ValueError, match=r"ADE_train_00000005.jpg: this image has no mask"):
        ADE20K(tmp_path)
