"""The cache of samples read from files: same samples, written once, found again, never half-written."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seglab.data import ImageMaskFolder, SegmentationDataModule, Shapes
from seglab.data.loading import cache
from seglab.data.loading.cache import Mapped
from seglab.data.loading.loader import TrainLoader
from seglab.data.loading.pipeline import Cached, Resized
from seglab.sample import Batch
from tests.data.conftest import write_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, empty."""
    monkeypatch.setenv("SEGLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


def of_folder(root: Path, **loading: Any) -> SegmentationDataModule:
    return SegmentationDataModule(ImageMaskFolder(root, 3), **{"batch_size": 2, "num_workers": 0, "cache": True, **loading})


def batches(data: SegmentationDataModule, epochs: int = 2) -> list[Batch]:
    loader = data.train_dataloader()
    found: list[Batch] = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found += list(loader)
    _end(loader)
    return [*found, *data.val_dataloader(), *data.test_dataloader()]


def _end(loader: TrainLoader) -> None:
    if loader.num_workers:
        loader._iterator._shutdown_workers()  # type: ignore[union-attr]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        x.name == y.name and x.image.dtype == y.image.dtype and torch.equal(x.image, y.image) and torch.equal(x.mask, y.mask)
        for x, y in zip(a, b, strict=True)
    )


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def of_many_kinds(root: Path, dtype: str) -> Path:
    """Images of three sizes, of uint16 or floats and five channels, as arrays."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number, size in enumerate([(9, 7), (12, 5), (9, 7), (3, 31)]):
            image = rng.random((*size, 5))
            np.save(root / split / "images" / f"{number}.npy", (image * 60000).astype(dtype) if dtype == "uint16" else image.astype(dtype))
            np.save(root / split / "masks" / f"{number}.npy", rng.integers(0, 3, size, dtype=np.uint8))
    return root


@pytest.mark.parametrize("kind", ["png", "uint16", "float32"])
@pytest.mark.parametrize("size", [None, (6, 9)])
def test_the_cache_changes_no_sample(tmp_path: Path, place: Path, kind: str, size: tuple[int, int] | None) -> None:
    root = write_folder(tmp_path / "data", 5) if kind == "png" else of_many_kinds(tmp_path / "data", kind)
    plain = batches(of_folder(root, size=size, cache=False).with_seed(3))
    first = of_folder(root, size=size)
    assert same(batches(first.with_seed(3)), plain)
    assert all(isinstance(first._samples(split), Mapped) for split in ("train", "val", "test"))
    assert len(files(place)) == 3
    assert same(batches(of_folder(root, size=size).with_seed(3)), plain), "as a later run finds it"


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_and_a_resume_change_nothing(folder: Path, workers: int) -> None:
    expected = batches(of_folder(folder, batch_size=1, cache=False).with_seed(1))
    assert same(batches(of_folder(folder, batch_size=1, num_workers=workers).with_seed(1)), expected)
    cut = of_folder(folder, batch_size=1).with_seed(1).train_dataloader()
    next(iter(cut))
    resumed = of_folder(folder, batch_size=1, num_workers=workers).with_seed(1).train_dataloader()
    resumed.load_state_dict(cut.state_dict())
    assert same(list(resumed), expected[1:3])
    _end(resumed)


def test_a_later_run_decodes_nothing(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_folder(folder).fill_cache()
    before = [(path, path.stat().st_ino) for path in files(place)]
    monkeypatch.setattr(Resized, "__getitem__", None)
    data = of_folder(folder)
    data.fill_cache()
    batches(data)
    assert [(path, path.stat().st_ino) for path in files(place)] == before


@pytest.mark.parametrize("changed", ["image", "mask", "void", "size", "fraction", "version"])
def test_other_content_is_another_file(folder: Path, place: Path, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_folder(folder, size=(8, 8), batch_size=1)._samples("train")
    if changed in ("image", "mask"):  # as many bytes, and the same time
        path = folder / "train" / f"{changed}s" / "1.png"
        before = path.stat()
        array = np.array(Image.open(path))
        Image.fromarray(array[::-1]).save(path, compress_level=0)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if changed == "version":
        monkeypatch.setattr(cache, "code_hash", lambda: "other")
    source = ImageMaskFolder(folder, 3, void=2 if changed == "void" else None)
    loading: Any = {"size": (8, 4) if changed == "size" else (8, 8), "train_fraction": 0.7 if changed == "fraction" else 1.0}
    data = SegmentationDataModule(source, cache=True, batch_size=1, **loading)
    plain = SegmentationDataModule(source, cache=False, batch_size=1, **loading)
    assert len(files(place)) == 1
    assert all(torch.equal(data._samples("train")[i].image, plain._samples("train")[i].image) for i in range(2))
    assert len(files(place)) == 2


def test_the_place_of_the_data_does_not_count(folder: Path, place: Path) -> None:
    of_folder(folder)._samples("train")
    of_folder(folder.rename(folder.with_name("moved")))._samples("train")
    assert len(files(place)) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "no index", "mask elsewhere"])
def test_a_damaged_file_is_written_anew(folder: Path, place: Path, damage: str) -> None:
    expected = batches(of_folder(folder))
    (path, *_) = [path for path in files(place) if len(Mapped(path)) == 3]
    content = path.read_bytes()
    damaged = {
        "cut": content[:-9],
        "changed": b"\xff" + content[1:],
        "empty": b"",
        "no index": content[:-8] + b"\xff" * 8,
        "mask elsewhere": re.sub(rb'("mask_at": \d+)\d', rb"\g<1>0", content, count=1),
    }
    assert damaged[damage] != content
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="damaged"):
        Mapped(path)
    assert same(batches(of_folder(folder)), expected)
    assert path.read_bytes() == content


def test_a_full_disk_leaves_nothing_behind_and_the_training_goes_on(
    folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGLAB_CACHE", str(small_disk))
    monkeypatch.setattr(cache, "LARGEST", 1e9)
    data = of_folder(folder, size=(700, 700))
    assert same(batches(data, 1), batches(of_folder(folder, size=(700, 700), cache=False), 1))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3, "one line for each split"
    assert said[0].startswith(f"no cache: {small_disk}")
    assert said[0].endswith("No space left on device; the images are read in every epoch")
    assert files(small_disk) == []


def test_a_file_that_would_fill_half_of_the_disk_is_refused_with_its_size(
    folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGLAB_CACHE", str(small_disk))
    samples = of_folder(folder, size=(400, 400))._samples("train")
    assert isinstance(samples, Resized)
    assert "it would take about 0.00179 GiB, and at most half of the free 0.0019" in capsys.readouterr().err
    assert files(small_disk) == []


def test_a_folder_that_cannot_be_written_is_said_and_done_without(
    folder: Path, read_only: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGLAB_CACHE", str(read_only()))
    assert isinstance(of_folder(folder)._samples("train"), Resized)
    assert "Read-only file system; the images are read in every epoch" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEGLAB_CACHE", str(tmp_path / "file"))
    assert isinstance(of_folder(folder)._samples("train"), Resized)
    assert capsys.readouterr().err.startswith("no cache: ")


def test_unreadable_samples_are_an_error_as_without_a_cache(folder: Path, place: Path) -> None:
    data = of_folder(folder)
    (folder / "train" / "images" / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"2\.png"):
        data._samples("train")
    assert files(place) == []
    assert list(place.iterdir()) == []


def test_leftovers_and_unused_files_are_deleted(folder: Path, place: Path) -> None:
    (old := place / "old").mkdir(parents=True)
    (old / "samples").write_bytes(b"x")
    for path in (old / "samples", old):
        os.utime(path, (time.time() - 31 * 24 * 3600,) * 2)
    of_folder(folder)._samples("train")
    assert not old.exists()
    (path,) = files(place)
    path.unlink()
    (path.parent / ".samples.host.1.part").write_bytes(b"of a process that was killed")
    of_folder(folder)._samples("train")
    assert files(place) == [path]


def test_samples_may_be_changed_and_the_file_is_not(folder: Path) -> None:
    samples = of_folder(folder)._samples("train")
    first = samples[0].image.clone()
    samples[0].image.zero_()
    assert torch.equal(samples[0].image, first)


def test_samples_of_no_files_are_kept_in_memory(place: Path) -> None:
    data = SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=16), batch_size=2)
    assert isinstance(data._samples("train"), Cached)
    assert not place.exists()


AT_ONCE = """
import sys
from tests.data.test_cache_files import of_folder
from pathlib import Path
data = of_folder(Path(sys.argv[1]), size=(200, 200))
data.fill_cache()
print(type(data._samples("train")).__name__)
"""


@pytest.mark.weekly
def test_several_processes_at_once_write_one_file(tmp_path: Path, place: Path) -> None:
    root = write_folder(tmp_path / "data", 30)
    started = [subprocess.Popen([sys.executable, "-c", AT_ONCE, root], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == ["Mapped"] * 3
    assert len(files(place)) == 3
    assert all(len(Mapped(path)) == 30 for path in files(place))
