"""Images without content, and values on which the default normalisation does not fit."""

from collections.abc import Sequence

import numpy as np

from seglab.data.audit.finding import MOST_SHOWN, Finding, number
from seglab.data.audit.look import Look

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

FAR_MEAN = 1.5
"""Distance of the mean from ImageNet's, in ImageNet's standard deviations, from which on it is noted. CamVid's darkest
drive has 1.2.
"""

FAR_STD = 2.0
"""Factor between the standard deviation and ImageNet's from which on it is noted. CamVid's is at most 1.3."""


def findings(looks: Sequence[Look]) -> list[Finding]:
    """Return findings on the values of images."""
    return [*_constant(looks), *_range(looks), *_normalisation(looks)]


def _constant(looks: Sequence[Look]) -> list[Finding]:
    constant = [look for look in looks if look.image is not None and look.image.low == look.image.high]
    if not constant:
        return []
    return [
        Finding(
            "warning",
            "images of one value",
            f"{number(len(constant), 'image')} of {len(looks)} {'has' if len(constant) == 1 else 'have'} one value in all pixels, such as "
            "black: perhaps the export failed",
            "export the images again, or remove them with their masks",
            tuple(look.name for look in constant),
            tuple((look.place,) for look in constant[:MOST_SHOWN]),
        )
    ]


def _range(looks: Sequence[Look]) -> list[Finding]:
    """Find float images that are not from 0 to 1, and 16-bit images that use a small part of their range."""
    floats = [look for look in looks if look.image is not None and look.image.dtype.startswith("float")]
    outside = [look for look in floats if look.image is not None and (look.image.low < -0.01 or look.image.high > 1.01)]
    found = []
    if outside:
        lowest, highest = (
            min(look.image.low for look in outside if look.image is not None),
            max(look.image.high for look in outside if look.image is not None),
        )
        found.append(
            Finding(
                "warning",
                "float images outside 0 to 1",
                f"{number(len(outside), 'image')} of {len(looks)}, with values from {lowest:g} to {highest:g}: mean and std are for 0 to 1",
                "scale the images to 0…1, or give SegmentationModule their mean and std",
                tuple(look.name for look in outside),
            )
        )
    wide = [look for look in looks if look.image is not None and look.image.dtype == "uint16"]
    if wide and (highest := max(look.image.high for look in wide if look.image is not None)) < 2**14:
        found.append(
            Finding(
                "warning",
                "16-bit images that use few bits",
                f"the largest value of {number(len(wide), 'image')} is {highest:g}, and values are divided by 65535: the network sees "
                f"images that are nearly black, at most {highest / 65535:.3f}",
                "scale the images to 16 bits, or give SegmentationModule their mean and std",
                tuple(look.name for look in wide),
            )
        )
    return found


def _normalisation(looks: Sequence[Look]) -> list[Finding]:
    """Find training images whose mean or standard deviation is far from that of ImageNet."""
    train = [look.image for look in looks if look.place.split == "train" and look.image is not None]
    if not train or {image.channels for image in train} - {1, 3}:
        return []
    mean = np.mean([np.broadcast_to(image.mean, 3) for image in train], axis=0)
    std = np.mean([np.broadcast_to(image.std, 3) for image in train], axis=0)
    distance = float(np.max(np.abs(mean - IMAGENET_MEAN) / np.array(IMAGENET_STD)))
    factor = float(np.max(np.maximum(std / np.array(IMAGENET_STD), np.array(IMAGENET_STD) / np.maximum(std, 1e-9))))
    if not np.isfinite(distance) or (distance < FAR_MEAN and factor < FAR_STD):
        return []
    channels = slice(1) if all(image.channels == 1 for image in train) else slice(3)
    values = " ".join(
        f"{name} {','.join(f'{value:.3f}' for value in numbers[channels])}" for name, numbers in (("mean", mean), ("std", std))
    )
    return [
        Finding(
            "note",
            "values far from ImageNet's",
            f"the training images have {values} on a scale of 0 to 1; ImageNet has mean 0.485,0.456,0.406 and std 0.229,0.224,0.225, by "
            "which images are normalised unless you say otherwise",
            "compare with the images' own mean and std in SegmentationModule, most of all without pretrained weights",
        )
    ]
