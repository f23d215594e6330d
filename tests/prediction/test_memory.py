"""Memory of a large image: it does not grow with the number of rows, and 20,000 × 20,000 pixels take less than 2 GB."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from seglab import CrossEntropy, SegmentationModule
from seglab.networks import network

PROGRAM = """
import resource, sys
from seglab.cli import main
sys.argv[0] = "seglab"
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""
"""The command, which prints its largest memory in MiB at its end."""


def checkpoint(folder: Path) -> Path:
    """A checkpoint of a network of 12 classes with small weights: its last layer gives class 3 where the image is bright, else class 1."""
    torch.manual_seed(0)
    module = SegmentationModule(network("FPN", "tu-test_resnet", num_classes=12), CrossEntropy(), num_classes=12)
    content = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def peak(folder: Path, side: int, window: int) -> int:
    """Predict a TIFF of side × side pixels, and return the largest memory of the process in MiB."""
    file, output = folder / f"{side}.tif", folder / f"out-{side}"
    strips = (np.full((256, side, 3), 1 + 16 * (number % 8), np.uint8) for number in range(-(-side // 256)))
    rows = (row for strip in strips for row in strip)
    tifffile.imwrite(
        file,
        (next(rows)[None] for _ in range(side)),
        shape=(side, side, 3),
        dtype=np.uint8,
        photometric="rgb",
        rowsperstrip=1,
        compression="lzw",
    )
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


@pytest.mark.slow
def test_an_image_of_20000_by_20000_pixels_takes_less_than_2_gb(tmp_path: Path) -> None:
    assert peak(tmp_path, 20_000, 1024) < 2 * 1000**3 / 2**20
