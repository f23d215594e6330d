"""Check shifted test sets before a study starts."""

from collections.abc import Mapping

from seglab.data.check import check_dataset
from seglab.data.contents import Format
from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.shifts.shift import Shift
from seglab.data.sources.dataset import check_split
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.spread import spread

TRIED = 3
"""Number of images on which each shift is tried."""


def check_shifts(shifts: Mapping[str, Shift], data: SegmentationDataModule, images: Format | None) -> None:
    """Check every shift by name: other domains have the classes and format of the data, and a few images are tried.

    Args:
        shifts: shifts by name.
        data: the data of the study.
        images: the common format of its images; None if it is not known.

    Raises:
        ValueError: a shift cannot be used; the message names it.
        Exception: the user's code fails; a note names the shift.
    """
    uncached = data.with_seed(data.seed)
    uncached.cache = False  # with it, all test images would be read for the few that are tried
    for name, shift in shifts.items():
        try:
            other = shift.domain()
            if other is not None:
                _check_domain(other, data, images)
            samples = uncached.shifted(shift)
            shift.check_images(samples)
            for index in spread(len(samples), min(1.0, TRIED / len(samples))):
                samples[index]
        except ValueError as error:
            raise ValueError(f"shift {name}: {error}") from error
        except Exception as error:
            error.add_note(f"shift {name}")
            raise


def _check_domain(other: SegmentationSource, data: SegmentationDataModule, images: Format | None) -> None:
    """Check that another data set has the same classes, and check all samples of its test split.

    Raises:
        ValueError: the classes differ, a sample is bad, or no pixel has a label.
    """
    ours, theirs = tuple(data.class_names), tuple(other.class_names)
    if ours != theirs:
        differing = [place for place in range(max(len(ours), len(theirs))) if ours[place : place + 1] != theirs[place : place + 1]]
        first = differing[0]
        names = [repr(names[first]) if first < len(names) else "no class" for names in (theirs, ours)]
        raise ValueError(
            f"{type(other).__name__} has other classes than the data of the study: label {first} is {names[0]} there and {names[1]} here "
            f"({len(theirs)} and {len(ours)} classes); expected the same names in the same order: map its labels to these classes"
        )
    dataset = other.split("test")
    check_split(dataset, f"{type(other).__name__}.split('test')")
    if not check_dataset(dataset, images, lambda samples: None).pixels:
        raise ValueError(f"none of the {len(dataset)} test masks of {type(other).__name__} has a labelled pixel; correct the masks")
