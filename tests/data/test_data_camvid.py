"""CamVid in both layouts, on tiny copies and, where it lies beside the repository, on the data themselves."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seglab.data import SPLITS, CamVid, PairedFiles, SegmentationDataModule
from seglab.data.sources.camvid import VOID
from seglab.study.settings import Settings

REAL = Path(__file__).parents[3] / "shared" / "data" / "camvid"
real = pytest.mark.skipif(not REAL.is_dir(), reason="CamVid is not beside the repository")
NAMES = [f"{drive}_{frame:05d}" for drive, frames in (("0001TP", 6), ("0006R0", 3), ("0016E5", 1)) for frame in range(frames)]


def write(root: Path, images: str, masks: str, lists: bool) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in (images, masks):
            (root / folder.format(split)).mkdir(parents=True)
        for name in NAMES:
            Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(root / images.format(split) / f"{name}.png")
            Image.fromarray(rng.integers(0, 12, (6, 8), dtype=np.uint8)).save(root / masks.format(split) / f"{name}.png")
        if lists:
            lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in reversed(NAMES)]
            (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def segnet(tmp_path: Path) -> Path:
    return write(tmp_path / "segnet", "{}", "{}annot", lists=True)


def test_both_layouts_give_the_same_samples(segnet: Path, tmp_path: Path) -> None:
    ignored = 0
    folders = write(tmp_path / "folders", "{}/images", "{}/masks", lists=False)
    for split in ("train", "val", "test"):
        a, b = CamVid(segnet).split(split), CamVid(folders).split(split)
        assert len(a) == len(b) == 10
        for one, other in zip((a[i] for i in range(10)), (b[i] for i in range(10)), strict=True):
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.mask, other.mask)
            assert Path(one.name).name == Path(other.name).name
            assert 11 not in one.mask
            ignored += int((one.mask == 255).sum())
    assert ignored > 0


@pytest.mark.parametrize(("fraction", "counts"), [(1.0, [6, 3, 1]), (0.5, [3, 2, 1]), (0.01, [1, 1, 1])])
def test_a_fraction_is_spread_over_the_drives(segnet: Path, fraction: float, counts: list[int]) -> None:
    data = SegmentationDataModule(CamVid(segnet), train_fraction=fraction, batch_size=1).with_seed(4)
    names = [Path(data.used("train")[i].name).stem for i in range(len(data.used("train")))]
    assert [sum(name.startswith(drive) for name in names) for drive in ("0001TP", "0006R0", "0016E5")] == counts
    assert names == sorted(set(names))
    assert [len(data.used(split)) for split in ("val", "test")] == [10, 10]
    if fraction == 0.5:
        assert names[:3] == ["0001TP_00001", "0001TP_00003", "0001TP_00005"]


def whole(root: Path) -> Path:
    """Write SegNet's splits in miniature, in which two drives are cut."""
    drives = {"train": ["0001TP_1", "0016E5_1", "0006R0_1"], "val": ["0016E5_2", "0016E5_3"], "test": ["0001TP_2", "Seq05VD_f1"]}
    for split, names in drives.items():
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            (root / split / kind).mkdir(parents=True)
            for name in names:
                Image.new(mode, (8, 6)).save(root / split / kind / f"{name}.png")
    return root


def test_groups_are_the_drives(tmp_path: Path) -> None:
    source = CamVid(whole(tmp_path))
    assert [source.groups(split) for split in SPLITS] == [["0001TP", "0006R0", "0016E5"], ["0016E5"] * 2, ["0001TP", "Seq05VD"]]


def test_splits_of_drives_never_cut_a_drive(tmp_path: Path) -> None:
    source = CamVid(whole(tmp_path), splits="drives")
    names = {split: [Path(source.split(split)[index].name).stem for index in range(len(source.split(split)))] for split in SPLITS}
    assert names == {
        "train": ["0001TP_1", "0001TP_2", "0016E5_1", "0016E5_2", "0016E5_3"],
        "val": ["0006R0_1"],
        "test": ["Seq05VD_f1"],
    }
    assert [source.groups(split) for split in SPLITS] == [["0001TP"] * 2 + ["0016E5"] * 3, ["0006R0"], ["Seq05VD"]]
    recorded = Settings().plain(source)
    assert recorded == {"class": "seglab.CamVid", "splits": "drives"}
    assert Settings().plain(CamVid(tmp_path)) == {"class": "seglab.CamVid"}, "as before there were splits to choose"
    assert SegmentationDataModule(source, train_fraction=0.4, batch_size=1).used("train")[1].name.startswith("val/images/0016E5")


def test_splits_of_drives_need_all_drives(tmp_path: Path, segnet: Path) -> None:
    with pytest.raises(ValueError, match="no frames of the drives of test; expected the whole of CamVid, or no splits by drives"):
        CamVid(segnet, splits="drives")
    with pytest.raises(ValueError, match=r"splits is 'drive': expected 'drives', or None for SegNet's splits"):
        CamVid(segnet, splits="drive")  # type: ignore[arg-type]
    root = whole(tmp_path / "other")
    for kind in ("images", "masks"):
        (root / "val" / kind / "0016E5_2.png").rename(root / "val" / kind / "other_2.png")
    with pytest.raises(ValueError, match=r"val/images/other_2.png: its drive is none of 0001TP, 0016E5, 0006R0, Seq05VD"):
        CamVid(root, splits="drives")


@real
def test_the_splits_of_drives_of_camvid() -> None:
    source = CamVid(REAL, splits="drives")
    assert [len(source.split(split)) for split in SPLITS] == [429, 101, 171]
    assert [len(CamVid(REAL).split(split)) for split in SPLITS] == [367, 101, 233]


def test_what_is_wrong_with_a_root_is_said(segnet: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no CamVid here, train/images and train.txt are missing; expected .*annot/NAME.png"):
        CamVid(tmp_path / "nowhere")
    (segnet / "valannot" / f"{NAMES[0]}.png").unlink()
    with pytest.raises(ValueError, match=rf"valannot/{NAMES[0]}.png: no such file, but val.txt lists it"):
        CamVid(segnet)
    (segnet / "val.txt").write_text("a b c\n")
    with pytest.raises(ValueError, match=r"val.txt, line 1: 3 words; expected the path of an image and that of its mask"):
        CamVid(segnet)
    (segnet / "val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"val.txt: cannot be read as a list of pairs \('utf-8' codec can't decode"):
        CamVid(segnet)
    (segnet / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val.txt: lists no pairs"):
        CamVid(segnet)


def test_classes_and_colours_are_segnets(segnet: Path) -> None:
    data = SegmentationDataModule(CamVid(segnet))
    assert data.num_classes == 11
    assert data.class_names[3] == "road"
    assert data.palette.shape == (11, 3)
    assert data.palette[3].tolist() == [128, 64, 128]
    assert data.palette.dtype == np.uint8


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_fingerprint_of_a_part_is_that_of_a_folder_with_no_other_frames(segnet: Path, fraction: float) -> None:
    told = SegmentationDataModule(CamVid(segnet), train_fraction=fraction, batch_size=1).identity()
    kept = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] if fraction == 1 else [1, 3, 5, 6, 8, 9]
    whole = CamVid(segnet)._frames("train")
    alone = PairedFiles(segnet, [whole[index] for index in kept], CamVid.class_names, VOID)
    assert told["splits"]["train"] == {"samples": len(kept), "files": alone.fingerprint()}


@real
@pytest.mark.parametrize(("fraction", "count", "digest"), [(0.1, 36, "e03c503ede834737"), (0.5, 183, "4771547388d1bbdc")])
def test_a_fraction_of_camvid_has_the_frames_of_the_projects_numbers(fraction: float, count: int, digest: str) -> None:
    """The digests are of the frames that the numbers in the project's notes were measured with."""
    data, source = SegmentationDataModule(CamVid(REAL), train_fraction=fraction), CamVid(REAL)
    stems = [source._frames("train")[index].image.stem for index in source.chosen(source.split("train"), fraction)]
    assert len(stems) == len(data.used("train")) == count
    assert hashlib.sha256(" ".join(stems).encode()).hexdigest()[:16] == digest


@real
def test_camvid_has_its_published_sizes_and_is_scored_at_its_own_resolution() -> None:
    data = SegmentationDataModule(CamVid(REAL), size=(120, 160), batch_size=2, num_workers=0)
    assert [len(data.source.split(split)) for split in ("train", "val", "test")] == [367, 101, 233]
    train, test = next(iter(data.train_dataloader())), next(iter(data.test_dataloader()))
    assert (train.image.shape, train.mask.shape) == ((2, 3, 120, 160), (2, 120, 160))
    assert (test.image.shape, test.mask.shape) == ((2, 3, 120, 160), (2, 360, 480))
    assert test.mask_size.tolist() == [[360, 480]] * 2


@real
@pytest.mark.slow
def test_camvid_is_clean() -> None:
    seen: list[int] = []
    SegmentationDataModule(CamVid(REAL)).check(lambda done, total: seen.append(total))  # a ValueError would name the file
    assert seen
    assert seen[-1] == 367 + 101 + 233
