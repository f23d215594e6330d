"""Checkpoint files through kills, full disks and rotten bits."""

import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, load, network
from seglab.checkpoints import AtomicCheckpoints, newest, previous, remove

KILLS = 12


def save(path: Path, number: int, identity: str = "me", size: int = 1000) -> None:
    AtomicCheckpoints(identity).save_checkpoint({"number": number, "w": torch.full((size,), float(number))}, path)


def number_in(path: Path | None) -> int:
    assert path is not None
    found = AtomicCheckpoints("me").load_checkpoint(path)
    assert (found["w"] == found["number"]).all()
    number: int = found["number"]
    return number


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "resume.ckpt"
    assert newest(path, "me") is None
    for number in range(3):
        save(path, number)
    assert sorted(file.name for file in path.parent.iterdir()) == ["resume.ckpt", "resume.prev.ckpt"]
    assert (number_in(newest(path, "me")), number_in(previous(path))) == (2, 1)
    path.unlink()  # what a kill between two renames leaves
    assert number_in(newest(path, "me")) == 1
    remove(path)
    assert list(path.parent.iterdir()) == []


def test_another_run_s_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "resume.ckpt", 0, identity="other")
    assert newest(tmp_path / "resume.ckpt", "me") is None
    assert "resume.ckpt: belongs to a run of other settings or of another seed; it is not used" in caplog.text
    save(tmp_path / "resume.ckpt", 1)
    assert number_in(newest(tmp_path / "resume.ckpt", "me")) == 1


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_not_used(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "resume.ckpt").write_bytes(content)
    assert newest(tmp_path / "resume.ckpt", "me") is None
    assert "resume.ckpt: damaged (" in caplog.text


def test_each_bit_of_a_weight_counts(tmp_path: Path) -> None:
    """torch itself loads it without a word."""
    path = tmp_path / "resume.ckpt"
    save(path, 1, size=100_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    assert newest(path, "me") is None


def test_code_is_not_loaded(tmp_path: Path) -> None:
    AtomicCheckpoints("me").save_checkpoint({"callback": Callback()}, tmp_path / "resume.ckpt")
    with pytest.raises(Exception, match="weights_only"):
        AtomicCheckpoints("me").load_checkpoint(tmp_path / "resume.ckpt", weights_only=False)
    assert newest(tmp_path / "resume.ckpt", "me") is None


def save_for_ever(path: Path, first: int) -> None:
    torch.set_num_threads(1)
    number = first
    while True:
        save(path, number, size=2_000_000)
        number += 1


class Idiomatic(SegmentationModule):
    """Saves its arguments as Lightning's documentation does."""

    def __init__(self, network: nn.Module, loss: nn.Module, *, num_classes: int, alpha: float = 0.2) -> None:
        super().__init__(network, loss, num_classes=num_classes)
        self.alpha = alpha
        self.save_hyperparameters()


@pytest.mark.filterwarnings("ignore:Attribute '.*' is an instance of `nn.Module`")
def test_saved_hyperparameters_keep_no_objects(tmp_path: Path) -> None:
    """A file with the network as an object is not loaded: the run would begin anew, and its weights be of no use."""
    data = SegmentationDataModule(Shapes(image_size=32, num_train=4, num_val=2, num_test=2), num_workers=0)
    built = network("Unet", "tu-mobilenetv3_small_050", num_classes=data.num_classes)
    module = Idiomatic(built, CrossEntropy(), num_classes=data.num_classes)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        plugins=[AtomicCheckpoints("me")],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=data)
    path = tmp_path / "resume.ckpt"
    trainer.save_checkpoint(path)
    assert newest(path, "me") == path
    assert AtomicCheckpoints("me").load_checkpoint(path)["hyper_parameters"] == {"num_classes": data.num_classes, "alpha": 0.2}
    assert all(torch.equal(one, other) for one, other in zip(load(path).network.parameters(), built.parameters(), strict=True))


def test_killed_while_saving_it_never_loses_what_it_had(tmp_path: Path) -> None:
    """At drawn moments; what is there is whole, and not older than the last that was seen."""
    path, draw, last = tmp_path / "resume.ckpt", random.Random(3), 0
    save(path, 0, size=2_000_000)
    for _ in range(KILLS):
        writer = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(path, last + 1))
        writer.start()
        time.sleep(draw.uniform(0.02, 0.3))
        writer.kill()
        writer.join()
        found = number_in(newest(path, "me"))
        assert found >= last
        last = found
    assert last > 0


def test_a_full_disk_costs_nothing_that_was_there(small_disk: Path) -> None:
    path = small_disk / "resume.ckpt"
    save(path, 0)
    save(path, 1)
    with pytest.raises(OSError, match="No space left on device") as raised:
        save(path, 2, size=1_000_000)
    assert str(small_disk) in str(raised.value.filename)
    assert sorted(file.name for file in small_disk.iterdir()) == ["resume.ckpt", "resume.prev.ckpt"]
    assert number_in(newest(path, "me")) == 1


def test_a_full_disk_costs_no_result(small_disk: Path) -> None:
    from seglab.records import write_json

    write_json(small_disk / "result.json", {"it": "is there"})
    (small_disk / "big").write_bytes(bytes(2 * 2**20 - 3 * 4096))
    with pytest.raises(OSError, match="No space left on device"):
        write_json(small_disk / "result.json", ["x" * 1000] * 100)
    assert (small_disk / "result.json").read_text() == '{\n "it": "is there"\n}\n'
    assert sorted(file.name for file in small_disk.iterdir()) == ["big", "result.json"]


def test_other_folders_need_not_know_how_to_synchronise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems refuse it for a folder."""
    original: Any = os.fsync

    def refusing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(22, "Invalid argument")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    save(tmp_path / "resume.ckpt", 4)
    assert number_in(newest(tmp_path / "resume.ckpt", "me")) == 4
