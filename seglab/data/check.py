"""Check every sample before training. An error names the bad file."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.data.sources.dataset import OnDisk, SegmentationDataset
from seglab.data.threads import in_threads
from seglab.sample import IGNORE, Sample


@dataclass(frozen=True)
class Format:
    """Channels and dtype, which all images of a data set have in common."""

    channels: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {str(self.dtype).removeprefix('torch.')}"


def check_class_names(names: Sequence[str]) -> None:
    """Check that every class name can be a part of a metric's name, such as `test/iou/car`, and that all names differ.

    Raises:
        ValueError: `names` is one text, or a name is no text, is empty, has a slash, a control character or spaces at its ends, or occurs twice.
    """
    if isinstance(names, str):
        raise ValueError(f"class_names is the text {names!r}: expected a tuple of names, such as ('background', 'cell')")
    for name in names:
        if not isinstance(name, str) or not name or "/" in name or not name.isprintable() or name != name.strip():
            raise ValueError(
                f"class name {name!r}: expected a text without slashes, control characters, and spaces at its ends, because it is a part "
                "of names of metrics, such as test/iou/car: rename the class"
            )
    if len({unicodedata.normalize("NFC", name) for name in names}) != len(names):
        raise ValueError(f"class_names {list(names)}: expected names that are all different, as scores are told apart by them")


def check_dataset(dataset: SegmentationDataset, expected: Format | None, seen: Callable[[], None]) -> Format | None:
    """Read every sample of one split, in threads, and call `seen` after each.

    Returns:
        The common format of the images: `expected`, or the format of the first image if that is None.

    Raises:
        ValueError: a sample is bad; its file is named.
    """
    for sample_format, where in in_threads(lambda index: _check_sample(dataset, index), len(dataset)):
        if expected is None:
            expected = sample_format
        if sample_format != expected:
            raise ValueError(f"{where}: the image has {sample_format}, the ones before it {expected}: convert them to one format")
        seen()
    return expected


def check_channels(images: Format, in_channels: int | None, mean: Sequence[float], std: Sequence[float]) -> None:
    """Check that images fit a network and its normalisation. One value of `mean` or `std` serves all channels.

    Grey images fit a network of 3 channels if `mean` or `std` has 3 values: normalisation repeats them for each.

    Args:
        images: the common format of the images.
        in_channels: number of channels that the network takes; None if it is not known.
        mean: values by which images are normalised.
        std: likewise.

    Raises:
        ValueError: the numbers do not fit.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 1 and images.channels not in (1, len(values)):
            raise ValueError(
                f"the images have {images}, and {name} has {len(values)} values: give SegmentationModule mean and std of "
                f"{images.channels} values, or of one"
            )
    channels = max(images.channels, len(mean), len(std))
    if in_channels not in (None, channels):
        raise ValueError(f"the images have {images}, and the network takes {in_channels}: build it with in_channels={channels}")


def _check_sample(dataset: SegmentationDataset, index: int) -> tuple[Format, str]:
    sample, _ = checked(dataset, index)
    return Format(sample.image.shape[0], sample.image.dtype), sample.name


def checked(dataset: SegmentationDataset, index: int) -> tuple[Sample, Tensor]:
    """Check a sample. Return it with its number of pixels of each class, (C,) int64.

    Raises:
        ValueError: the sample is bad; its file is named.
    """
    sample = dataset[index]
    where = str(dataset.mask_file(index)) if isinstance(dataset, OnDisk) else sample.name
    check_shapes(sample, where)
    return sample, count_labels(sample, dataset.num_classes, where)


def check_shapes(sample: Sample, where: str) -> None:
    """Check that a sample has an image (C,H,W) of finite pixels and a uint8 mask (H,W) of the same size.

    Raises:
        ValueError: shape, dtype or size is wrong, or pixels of a float image are infinite or not a number.
    """
    if sample.image.ndim != 3 or sample.mask.ndim != 2 or sample.mask.dtype != torch.uint8:
        raise ValueError(
            f"{where}: image {tuple(sample.image.shape)} and mask {tuple(sample.mask.shape)} {sample.mask.dtype}; a sample has "
            "an image (C,H,W) and a mask (H,W) of torch.uint8: correct the data set's __getitem__"
        )
    if sample.image.shape[1:] != sample.mask.shape:
        (rows, columns), (mask_rows, mask_columns) = sample.image.shape[1:], sample.mask.shape
        raise ValueError(
            f"{where}: the mask has {mask_rows}×{mask_columns} pixels (rows × columns), its image {rows}×{columns}: "
            "export the mask at the size of its image, in the orientation in which the image is shown"
        )
    if sample.image.is_floating_point() and (bad := int((~sample.image.isfinite()).sum())):
        raise ValueError(
            f"{sample.name}: {bad} of the image's {sample.image.numel()} values are infinite or not a number (NaN); expected finite "
            "values from 0 to 1: replace them, such as by 0, and ignore their pixels in the mask"
        )


def count_labels(sample: Sample, num_classes: int, where: str) -> Tensor:
    """Count the pixels of each class, (C,) int64. Pixels with the label `IGNORE` are not counted.

    Raises:
        ValueError: a label is neither below `num_classes` nor `IGNORE`. The message names the largest label.
    """
    counts = torch.bincount(sample.mask.flatten(), minlength=IGNORE + 1)
    wrong = [label for label in counts.nonzero().flatten().tolist() if label >= num_classes and label != IGNORE]
    if wrong:
        raise ValueError(
            f"{where}: label {wrong[-1]}, the classes are 0…{num_classes - 1}, {IGNORE} is ignored: "
            "correct the mask or the number of classes, or name this label as void"
        )
    return counts[:num_classes]
