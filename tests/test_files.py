"""Files that are written whole or not at all, whatever writes them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from seglab.files import atomic_write, host
from seglab.running.ledger import remove_leftovers

SIZE = 1_000_000


def as_bytes(file: BinaryIO) -> None:
    file.write(os.urandom(4 * SIZE))


def as_array(file: BinaryIO) -> None:
    np.savez_compressed(file, a=np.frombuffer(os.urandom(4 * SIZE), np.uint8))


def as_tensors(file: BinaryIO) -> None:
    torch.save({"w": torch.rand(SIZE)}, file)


def as_picture(file: BinaryIO) -> None:
    figure = Figure(figsize=(20, 20))
    figure.figimage(np.random.default_rng(0).random((2000, 2000)))
    figure.savefig(file, format="png")


WRITERS: list[Callable[[BinaryIO], None]] = [as_bytes, as_array, as_tensors, as_picture]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_costs_nothing_that_was_there(writer: Callable[[BinaryIO], None], small_disk: Path) -> None:
    """The disk holds 2 MiB, and each writer more; the error names the file, whatever library wrote it."""
    path = small_disk / "file"
    path.write_text("before")
    with pytest.raises(OSError, match="No space left on device") as raised, atomic_write(path) as file:
        writer(file)
    assert raised.value.filename == str(path)
    assert [there.name for there in small_disk.iterdir()] == ["file"]
    assert path.read_text() == "before"


def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    """For root, a rename would put a file in the place of `/dev/null`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as file:
        file.write(b"all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert pipe.is_fifo()
    assert [there.name for there in tmp_path.iterdir()] == ["pipe"]


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    def half(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"), atomic_write(tmp_path / "file") as file:
        half(file)
    assert list(tmp_path.iterdir()) == []


def test_the_replaced_file_is_kept_under_its_name(tmp_path: Path) -> None:
    path, kept = tmp_path / "a", tmp_path / "b"
    for number in range(3):
        with atomic_write(path, keep=kept) as file:
            file.write(str(number).encode())
    assert (path.read_text(), kept.read_text()) == ("2", "1")


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "a" + "é" * 127, "界" * 85, "\U0001f600" * 63, "a\udcff" * 120])
def test_a_name_may_be_as_long_as_the_system_allows(name: str, tmp_path: Path) -> None:
    with atomic_write(tmp_path / name) as file, atomic_write(tmp_path / f"b{name[1:]}") as other:
        parts = list(tmp_path.glob(".*.part"))
        assert len(parts) == 2
        assert all(len(os.fsencode(part.name)) <= 255 for part in parts)
        file.write(b"1")
        other.write(b"2")
    assert [(tmp_path / one).read_text() for one in (name, f"b{name[1:]}")] == ["1", "2"]
    assert len(list(tmp_path.iterdir())) == 2


def test_long_names_of_one_beginning_have_two_temporary_files(tmp_path: Path) -> None:
    paths = [tmp_path / ("a" * 250 + end) for end in "12"]
    with atomic_write(paths[0]) as first, atomic_write(paths[1]) as second:
        first.write(b"1")
        second.write(b"2")
    assert [path.read_text() for path in paths] == ["1", "2"]


KILLED = """
import os, signal, sys
from pathlib import Path
from seglab.files import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["result.json", "é" * 127])
def test_what_a_killed_process_leaves_is_found_and_removed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("before")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    process.wait(30)
    (left,) = [there.name for there in tmp_path.iterdir() if there != path]
    begin = r"\.result\.json" if name == "result.json" else r"\.é+~[0-9a-f]{8}"
    assert re.fullmatch(rf"{begin}\.{re.escape(host())}\.{process.pid}\.part", left)
    assert list(tmp_path.glob("*.part")) == list(tmp_path.glob(".*.part")) == [tmp_path / left]
    remove_leftovers(tmp_path)
    assert [there.name for there in tmp_path.iterdir()] == [name]
    assert path.read_text() == "before"
