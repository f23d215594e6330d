"""Check every sample before training. An error names the bad file."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.data.contents import Contents, Format
from seglab.data.remembered import key_of, recall, remember
from seglab.data.sources.dataset import OnDisk, SegmentationDataset
from seglab.data.threads import in_threads
from seglab.sample import IGNORE, Sample


@dataclass(frozen=True)
class CheckedData:
    """Facts about data that have passed the check."""

    images: Format | None
    """The format that all images have in common; None if there are no samples."""
    sizes: str
    """One sentence that says the sizes of the images, and the size at which they are trained."""
    notes: tuple[str, ...] = ()
    """Lines on classes that some split lacks."""


def check_class_names(names: Sequence[str]) -> None:
    """Check that every class name can be a part of a metric's name, such as `test/iou/car`, and that all names differ.

    Raises:
        ValueError: `names` is one text, or a name is no text, is empty, has a slash, a control character or spaces at
            its ends, or occurs twice.
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


def check_dataset(dataset: SegmentationDataset, expected: Format | None, seen: Callable[[int], None]) -> Contents:
    """Check every sample of one split, and call `seen` with the number of samples that are checked since the last call.

    Files that have been checked before and have not changed are not read again.

    Args:
        dataset: the split.
        expected: the format of the images of other splits; None if it is not known.
        seen: shows progress.

    Raises:
        ValueError: a sample is bad; its file is named.
    """
    key = key_of(dataset)
    found = None if key is None else recall(key)
    if found is None:
        found = _read(dataset, expected, seen)
        if key is not None and key == key_of(dataset):  # nothing has changed while it was read
            remember(key, found)
    else:
        _check_format(found.images, expected, found.first)
        seen(found.samples)
    return found


def _read(dataset: SegmentationDataset, expected: Format | None, seen: Callable[[int], None]) -> Contents:
    """Read and check every sample of one split, in threads."""
    found = Contents()
    for image_format, size, labels, where in in_threads(lambda index: _check_sample(dataset, index), len(dataset)):
        _check_format(image_format, expected if found.images is None else found.images, where)
        found.images, found.first = image_format, found.first or where
        found.samples += 1
        found.sizes.add(size)
        for label, number in labels.items():
            found.pixels[label] = found.pixels.get(label, 0) + number
        found.ignored += size[0] * size[1] - sum(labels.values())
        seen(1)
    return found


def _check_format(found: Format | None, expected: Format | None, where: str) -> None:
    if expected is not None and found not in (None, expected):
        raise ValueError(f"{where}: the image has {found}, the ones before it {expected}: convert them to one format")


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


def _check_sample(dataset: SegmentationDataset, index: int) -> tuple[Format, tuple[int, int], dict[int, int], str]:
    """Check a sample.

    Return the format of its image, its rows and columns, the pixels of each class that it has, and its name.
    """
    sample, counts = checked(dataset, index)
    channels, rows, columns = sample.image.shape
    pixels = {label: number for label, number in enumerate(counts.tolist()) if number}
    return Format(channels, sample.image.dtype), (rows, columns), pixels, sample.name


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
    """Check that a sample has an image (C,H,W) of finite pixels and a uint8 mask (H,W) of the same size.

    Raises:
        ValueError: shape, dtype or size is wrong, or pixels of a float image are infinite or not a number.
    """
    if sample.image.ndim != 3 or sample.mask.ndim != 2 or sample.mask.dtype != torch.uint8:
        raise ValueError(
            f"{where}: image {tuple(sample.image.shape)} and mask {tuple(sample.mask.shape)} {sample.mask.dtype}; a sample has "
            "an image (C,H,W) and a mask (H,W) of torch.uint8: correct the data set's __getitem__"
        )
    if sample.image.shape[1:] != sample.mask.shape and sample.image.shape[:2] == sample.mask.shape:
        raise ValueError(
            f"{where}: the image has the shape {tuple(sample.image.shape)}, with its channels last; a sample has an image (C,H,W): "
            "add .permute(2, 0, 1) to the data set's __getitem__"
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
