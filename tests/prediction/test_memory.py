"""Memory of a large image: it does not grow with the number of rows, and 20,000 × 20,000 pixels take less than 2 GB."""

import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from seglab import CrossEntropy, SegmentationModule
from seglab.data.arrays import Array
from seglab.data.reading.read import read_image
from seglab.data.reading.stored import forget
from seglab.networks import network

LARGEST = """
import re, sys
from pathlib import Path

def print_largest_memory():
    print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024, file=sys.stderr)
"""
"""Print the largest memory of this program in MiB. On Linux, ru_maxrss would be at least the largest memory of the
parent process.
"""

PROGRAM = f"""{LARGEST}
from seglab.cli import main
sys.argv[0] = "seglab"
try:
    main()
finally:
    print_largest_memory()
"""
"""The command, which prints its largest memory at its end."""

needs_linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory of a process from /proc")


def checkpoint(folder: Path) -> Path:
    """A checkpoint of a network of 12 classes with random weights."""
    torch.manual_seed(0)
    module = SegmentationModule(network("PSPNet", "tu-mobilenetv3_small_050", num_classes=12), CrossEntropy(), num_classes=12)
    content = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def peak(folder: Path, side: int, window: int) -> int:
    """Predict a TIFF of side × side pixels, and return the largest memory of the process in MiB."""
    file, output = folder / f"{side}.tif", folder / f"out-{side}"
    count = (-(-side // 256)) ** 2
    tiles = (np.full((256, 256, 3), 16 * (number % 16), np.uint8) for number in range(count))
    tifffile.imwrite(file, tiles, shape=(side, side, 3), dtype=np.uint8, photometric="rgb", tile=(256, 256), compression="lzw")
    words = [
        "predict",
        checkpoint(folder),
        file,
        "--output",
        output,
        "--window",
        f"[{window},{window}]",
        "--overlap",
        0,
        "--overlays",
        "--device",
        "cpu",
    ]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(output / "masks" / f"{side}.png") as mask:
        assert mask.size == (side, side)
    with Image.open(output / "overlays" / f"{side}.png") as overlay:
        assert max(overlay.size) <= 2048
    return int(done.stderr.split()[-1])


@needs_linux
def test_the_memory_of_a_child_leaves_out_the_memory_of_its_parent() -> None:
    grown = "held = bytearray(400 << 20)\nfor place in range(0, len(held), 4096): held[place] = 1\n"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LARGEST + 'print_largest_memory()'!r}], check=True)"
    done = subprocess.run([sys.executable, "-c", f"{grown}{child}"], capture_output=True, text=True, check=True)
    assert int(done.stderr) < 100


@needs_linux
@pytest.mark.weekly
def test_an_image_of_20000_by_20000_pixels_takes_less_than_2_gb(tmp_path: Path) -> None:
    assert peak(tmp_path, 20_000, 512) < 2 * 1000**3 / 2**20


TIFFS: dict[str, dict[str, Any]] = {
    "plain.tif": {},
    "strips.tif": {"compression": "lzw", "rowsperstrip": 7},
    "tiles.tif": {"compression": "deflate", "predictor": True, "tile": (64, 48)},
    "planes.tif": {"compression": "lzw", "planarconfig": "separate", "tile": (64, 64)},
    "big-endian.tif": {"byteorder": ">"},
    "array.npy": {},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", TIFFS)
def test_a_large_array_is_mapped_and_its_memory_given_back(name: str, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels: Array = np.random.default_rng(0).integers(0, 256, (600, 500, 3)).astype(dtype)
    file = tmp_path / name
    if name == "array.npy":
        np.save(file, pixels)
    elif name == "planes.tif":
        tifffile.imwrite(file, pixels.transpose(2, 0, 1), photometric="rgb", **TIFFS[name])
    else:
        tifffile.imwrite(file, pixels, photometric="rgb", **TIFFS[name])
    assert not is_mapped(read_image(file))
    monkeypatch.setattr("seglab.data.reading.tiff.LARGE", 1000)
    monkeypatch.setattr("seglab.data.reading.stored.LARGE", 1000)
    monkeypatch.setattr("seglab.data.reading.formats.LARGE", 1000)
    mapped = read_image(file)
    copied = name == "planes.tif" or (name == "big-endian.tif" and dtype == np.uint16)  # into the layout of an image in memory
    assert is_mapped(mapped) != copied
    assert np.array_equal(mapped, pixels)
    forget(mapped)
    assert np.array_equal(mapped, pixels)


def test_an_image_in_memory_is_not_forgotten() -> None:
    pixels = np.arange(6).reshape(1, 2, 3)[:, ::-1]
    forget(pixels)
    assert pixels.flatten().tolist() == [3, 4, 5, 0, 1, 2]


def is_mapped(pixels: Array) -> bool:
    base: object = pixels
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)
