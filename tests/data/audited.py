"""A small set of real pictures on disk, and what goes wrong with such sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from seglab.data import SPLITS, ImageMaskFolder, Shapes
from seglab.data.audit.audit import Report, audit
from seglab.data.audit.source import audited_source

Pixels = npt.NDArray[np.uint8]
Namer = Callable[[str, str, int], str]


def usual(split: str, kind: str, number: int) -> str:
    """`{split}/{kind}/NNN.png`."""
    return f"{split}/{kind}/{number:03d}.png"


def write_shapes(root: Path, each: int = 14, name: Namer = usual, mask: Callable[[Pixels], Pixels] = lambda mask: mask) -> Path:
    """Write drawn images of 48×48 in 3 classes, `each` a split, as files named by `name`.

    Their masks are converted by `mask`.
    """
    source = Shapes(num_train=each, num_val=each, num_test=each, image_size=48, num_shapes=2)
    for split in SPLITS:
        dataset = source.split(split)
        for number in range(each):
            sample = dataset[number]
            for kind, pixels in (("images", sample.image.permute(1, 2, 0).numpy()), ("masks", mask(sample.mask.numpy()))):
                file = root / name(split, kind, number)
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(pixels)).save(file)
    return root


def audit_of(root: Path, num_classes: int = 3) -> Report:
    """Audit `ImageMaskFolder(root)`."""
    source = ImageMaskFolder(root, num_classes=num_classes)
    return audit(audited_source({split: source.split(split) for split in SPLITS}, source.class_names))


def found(report: Report) -> list[tuple[str, str]]:
    """Return severity and title of each finding."""
    return [(finding.severity, finding.title) for finding in report.findings]
