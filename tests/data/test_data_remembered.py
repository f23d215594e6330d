"""The memory of checks: files that have not changed are not read again, and no change is hidden."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglab.data import ImageMaskFolder, PairedFiles, SegmentationDataModule, SegmentationDataset, Shapes
from seglab.data.caches import cache_folder
from seglab.data.loading.part import part_of
from seglab.data.remembered import key_of, recall
from seglab.sample import Sample


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SEGLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checked"


def of(folder: Path, **settings: int) -> SegmentationDataModule:
    return SegmentationDataModule(ImageMaskFolder(folder, num_classes=settings.get("num_classes", 3)), batch_size=1, augmentation=None)


def train(folder: Path) -> PairedFiles:
    found = ImageMaskFolder(folder, num_classes=3).split("train")
    assert isinstance(found, PairedFiles)
    return found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples that are read, as they are read."""
    seen: list[int] = []
    before = PairedFiles.__getitem__

    def counted(self: PairedFiles, index: int) -> Sample:
        seen.append(index)
        return before(self, index)

    monkeypatch.setattr(PairedFiles, "__getitem__", counted)
    return seen


def test_a_second_check_reads_no_sample_and_finds_the_same(folder: Path, memory: Path, reads: list[int]) -> None:
    first = of(folder).check()
    assert len(reads) == 9
    progress: list[tuple[int, int]] = []
    assert of(folder).check(lambda done, total: progress.append((done, total))) == first
    assert len(reads) == 9
    assert progress == [(3, 9), (6, 9), (9, 9)]
    assert len(list(memory.iterdir())) == 3


def rewrite(file: Path) -> None:
    """Write the same pixels again, as an editor would."""
    file.write_bytes(file.read_bytes())


def same_size_and_time(file: Path) -> None:
    """Change a byte at the end, and set the time of the file back."""
    found = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def replace(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.replace(file)


@pytest.mark.parametrize("change", [rewrite, same_size_and_time, replace])
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_was_written_has_another_key(folder: Path, change: Callable[[Path], None], kind: str) -> None:
    before = key_of(train(folder))
    change(folder / "train" / kind / "1.png")
    assert key_of(train(folder)) != before


def test_a_changed_mask_is_found_although_its_size_and_times_are_those_of_before(folder: Path, memory: Path) -> None:
    """By its content, whatever the file system says."""
    of(folder).check()
    dataset, before = train(folder), key_of(train(folder))
    file = folder / "train" / "masks" / "1.png"
    found = file.stat()
    content = file.read_bytes()
    with Image.open(file) as opened:
        pixels = np.array(opened)
    pixels[0, 0] = 9
    Image.fromarray(pixels).save(file)
    assert key_of(dataset) != before
    with pytest.raises(ValueError, match="label 9"):
        of(folder).check()
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    of(folder).check()


def test_what_changes_the_check_changes_the_key(folder: Path) -> None:
    whole = train(folder)
    others: list[SegmentationDataset] = [
        whole,
        PairedFiles(whole.root, whole.pairs, ("a", "b", "d")),
        PairedFiles(whole.root, whole.pairs, (*whole.class_names, "more")),
        PairedFiles(whole.root, whole.pairs, whole.class_names, 2),
        PairedFiles(whole.root, whole.pairs, whole.class_names, None, {0: 0, 1: 1, 2: 2}),
        PairedFiles(whole.root, whole.pairs, whole.class_names, None, {0: 0, 1: 1, 2: 1}),
        PairedFiles(whole.root, whole.pairs[:2], whole.class_names),
        part_of(whole, [0]),
        part_of(whole, [1]),
    ]
    keys = [key_of(dataset) for dataset in others]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key_of(part_of(whole, [0, 1])) == keys[6]


class Own(PairedFiles):
    """A user's data set, which may return anything."""


def test_only_what_depends_on_files_alone_is_remembered(folder: Path) -> None:
    whole = train(folder)
    assert key_of(Own(whole.root, whole.pairs, whole.class_names)) is None
    assert key_of(Shapes().split("train")) is None
    assert key_of(part_of(Shapes().split("train"), [0])) is None


def damaged(memory: Path) -> None:
    for file in memory.iterdir():
        file.write_bytes(file.read_bytes()[:10])


def of_another_kind(memory: Path) -> None:
    for file, text in zip(memory.iterdir(), ("[]", "{}", '{"images": [3, "nothing"], "sizes": 1}'), strict=True):
        file.write_text(text)


def folders(memory: Path) -> None:
    for file in list(memory.iterdir()):
        file.unlink()
        file.mkdir()


def a_file_in_its_place(memory: Path) -> None:
    shutil.rmtree(memory)
    memory.write_text("")


@pytest.mark.parametrize("damage", [damaged, of_another_kind, folders, a_file_in_its_place])
def test_a_damaged_memory_is_read_over_in_silence(
    folder: Path, memory: Path, reads: list[int], damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    first = of(folder).check()
    damage(memory)
    assert of(folder).check() == first
    assert len(reads) == 18
    assert capsys.readouterr() == ("", "")


def test_a_bad_sample_is_not_remembered(folder: Path, memory: Path) -> None:
    (folder / "train" / "images" / "0.png").write_text("no image")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"0.png: cannot be read as an image"):
            of(folder).check()
    assert not memory.exists()


def test_a_full_disk_and_a_read_only_one_are_borne(folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGLAB_CACHE", str(small_disk / "cache"))
    with contextlib.suppress(OSError), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    first = of(folder).check()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert of(folder).check() == first
    assert key_of(train(folder)) is not None
    assert recall(str(key_of(train(folder)))) is None


def test_many_checks_at_once_agree(folder: Path, memory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: of(folder).check(), range(16)))
    assert all(one == found[0] for one in found)
    assert len(list(memory.iterdir())) == 3


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"HOME": "/h"}, "/h/.cache/seglab"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/seglab"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "/x", "SEGLAB_CACHE": "/s"}, "/s"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/seglab"),
        ("win32", {"HOME": "/h", "LOCALAPPDATA": "/l"}, "/l/seglab/Cache"),
    ],
)
def test_the_folder_is_the_systems(monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str) -> None:
    for name in ("SEGLAB_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == Path(expected)
