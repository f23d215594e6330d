"""Check every sample before training. An error names the bad file."""

from collections.abc import Callable
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


def _check_sample(dataset: SegmentationDataset, index: int) -> tuple[Format, str]:
    sample, _ = checked(dataset, index)
    return Format(sample.image.shape[0], sample.image.dtype), sample.name


def checked(dataset: SegmentationDataset, index: int) -> tuple[Sample, Tensor]:
    """Check a sample. Return it with its number of pixels of each class, (C,) int64.

    Raises:
        ValueError: the sample is bad; its file is named.
    """
    sample = sample_of(dataset, index)
    where = str(dataset.mask_file(index)) if isinstance(dataset, OnDisk) else sample.name
    check_shapes(sample, where)
    return sample, count_labels(sample, dataset.num_classes, where)


def sample_of(dataset: SegmentationDataset, index: int) -> Sample:
    """Read a sample. If that fails, note the sample's place in the error.

    Raises:
        ValueError: the data set returns something else than a sample of tensors.
    """
    try:
        sample: object = dataset[index]
    except Exception as error:
        error.add_note(f"sample {index} of {type(dataset).__name__}")
        raise
    if isinstance(sample, Sample) and isinstance(sample.image, Tensor) and isinstance(sample.mask, Tensor) and isinstance(sample.name, str):
        return sample
    kinds = [type(part).__name__ for part in sample] if isinstance(sample, tuple) else type(sample).__name__
    found = "None" if sample is None else f"({', '.join(kinds)})" if isinstance(kinds, list) else f"a {kinds}"
    raise ValueError(
        f"sample {index} of {type(dataset).__name__} is {found}; expected a seglab.Sample(image, mask, name) of two tensors and a text: "
        "correct the data set's __getitem__"
    )


def check_shapes(sample: Sample, where: str) -> None:
    """Check that a sample has an image (C,H,W) and a uint8 mask (H,W) of the same size.

    Raises:
        ValueError: shape, dtype or size is wrong.
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
