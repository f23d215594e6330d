"""Class imbalance in numbers: pixels of each class, and the class weights and image probabilities that follow.

    pixels = SegmentationDataModule(CamVid(root)).class_pixels()
    loss = CrossEntropy(weight=median_frequency(pixels))

A class without a pixel gets the weight 0: it is never the truth.
"""

import math

import numpy as np
import numpy.typing as npt

from seglab.data.check import checked
from seglab.data.sources.dataset import SegmentationDataset
from seglab.data.threads import in_threads

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


def class_pixels(dataset: SegmentationDataset) -> Counts:
    """Count the pixels of each class in each of the N samples, at its original size: (N,C).

    Ignored pixels are in no column.

    Raises:
        ValueError: a sample is bad, for example with a label outside the classes; its file is named.
    """
    rows = list(in_threads(lambda index: checked(dataset, index)[1].numpy(), len(dataset)))
    return np.array(rows, np.int64).reshape(len(dataset), dataset.num_classes)


def inverse_frequency(pixels: Counts) -> tuple[float, ...]:
    """Return the weights n/(C'·n_c), with which all classes weigh the same.

    Class c has n_c of all n pixels, and C' classes have pixels.

    G. King, L. Zeng, "Logistic regression in rare events data", Political Analysis 9 (2001); scikit-learn's "balanced".

    Args:
        pixels: (N,C) int64 counts, see `class_pixels`.

    Raises:
        ValueError: no class has a pixel.

    >>> inverse_frequency(np.array([[5, 1, 0], [1, 1, 0]]))  # 8/(2·6) and 8/(2·2)
    (0.6666666666666666, 2.0, 0.0)
    """
    n = _of_each_class(pixels)
    present = n > 0
    return _weights(n.sum() / (present.sum() * n[present]), present)


def median_frequency(pixels: Counts) -> tuple[float, ...]:
    """Return the weights median(f)/f_c, f_c being the fraction of class c in the pixels of the images that contain it.

    The median is over the classes that occur.

    D. Eigen, R. Fergus, "Predicting depth, surface normals and semantic labels" (arXiv:1411.4734), section 6.3.2; used
    by SegNet. Ignored pixels count nowhere. The weights that SegNet published for CamVid (segnet_train.prototxt) do not
    follow from its masks, whether void counts or not (caffe-segnet, issue 37): up to a common factor they are within 10
    % of these, but for `sign`, 2.7 times as large there.

    Args:
        pixels: (N,C) int64 counts, see `class_pixels`.

    Raises:
        ValueError: no class has a pixel.

    >>> median_frequency(np.array([[5, 3, 0], [10, 0, 2]]))  # frequencies 15/20, 3/8 and 2/12
    (0.5, 1.0, 2.25)
    """
    n = _of_each_class(pixels)
    present = n > 0
    of_its_images = (pixels > 0).T @ pixels.sum(axis=1)
    frequency = n[present] / of_its_images[present]
    return _weights(np.median(frequency) / frequency, present)


def effective_number(pixels: Counts, beta: float = 0.999999) -> tuple[float, ...]:
    """Return the weights (1-β)/(1-β^n_c), scaled to mean 1 over occurring classes.

    Before scaling, a weight is the inverse effective number of class c's samples.

    Y. Cui et al., "Class-balanced loss based on effective number of samples" (arXiv:1901.05555). Samples overlap, so
    that each further sample adds less information; the effective number is at most 1/(1-β). Here n_c counts pixels.
    Classes with far fewer than 1/(1-β) pixels (a million by default) are weighted by inverse frequency. Classes with
    far more pixels have equal weights. β = 0 gives all classes equal weights; β → 1 gives inverse frequency.

    Args:
        pixels: (N,C) int64 counts, see `class_pixels`.
        beta: β, at least 0 and below 1.

    Raises:
        ValueError: no class has a pixel, or β is out of its range.

    >>> effective_number(np.array([[1, 0, 9], [0, 0, 9]]), beta=0.0)  # one pixel tells all
    (1.0, 0.0, 1.0)
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta is {beta}: expected at least 0 and below 1, such as 0.999999, where a million pixels tell all of a class")
    n = _of_each_class(pixels)
    present = n > 0
    log_beta = math.log(beta) if beta > 0 else -math.inf
    weight = -1 / np.expm1(n[present] * log_beta)  # 1-β^n as written is 0 where β is next to 1; the mean cancels 1-β
    return _weights(weight / weight.mean(), present)


def image_probabilities(pixels: Counts, balanced: float) -> Numbers:
    """Return the probability of each image, (1-s)/N + s·p_i, (N,). The probabilities sum to 1.

    p_i is the probability of image i if first a class is drawn among the classes that occur, then a pixel of this class
    among all images: the mean over the classes of n_ic / Σ_j n_jc. An image without a labelled pixel has p_i = 0.

    Args:
        pixels: (N,C) int64 counts n_ic, see `class_pixels`.
        balanced: s, 0 to 1.

    Raises:
        ValueError: no class has a pixel.

    >>> image_probabilities(np.array([[9, 0], [9, 1], [0, 0]]), balanced=1.0)
    array([0.25, 0.75, 0.  ])
    """
    n = _of_each_class(pixels)
    present = n > 0
    p = (pixels[:, present] / n[present]).mean(axis=1)
    return np.asarray((1 - balanced) / len(pixels) + balanced * p)


def _of_each_class(pixels: Counts) -> Counts:
    """Return n_c, the number of pixels of each class, (C,)."""
    if pixels.ndim != 2:
        raise ValueError(f"pixels have the shape {pixels.shape}: expected (N,C), a row per image and a column per class, of class_pixels()")
    n: Counts = pixels.sum(axis=0, dtype=np.int64)
    if not n.any():
        raise ValueError(f"none of the {len(pixels)} images has a pixel of any class: expected masks that are not all ignored")
    return n


def _weights(of_present: Numbers, present: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Return one weight per class, 0 for a class that does not occur."""
    weights = np.zeros(len(present))
    weights[present] = of_present
    return tuple(weights.tolist())
