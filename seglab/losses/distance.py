"""Euclidean distances to the boundaries of classes."""

import cv2
import numpy as np
import torch
from torch import Tensor

from seglab.losses.inputs import one_hot


def boundary_distances(labels: Tensor, num_classes: int) -> Tensor:
    """Return the distance of each pixel to the nearest pixel on the other side of each class's boundary.

    For a pixel outside of a class, this is the distance to the class; for a pixel of the class, the distance to any
    other class. A pixel of no class is on neither side: no distance is measured to such a pixel, and its own distances
    are 0. A class that the image lacks, or that all labelled pixels belong to, has no boundary: all its distances are
    0.

    The transform (Felzenszwalb & Huttenlocher 2012, in OpenCV) is exact but for float32's rounding. It runs on the CPU,
    once for each class that is in an image: about 1 ms for 256×256 pixels. Labels on another device are copied to the
    CPU, which waits for that device.

    Args:
        labels: (N,H,W) int64; a pixel whose label is not in 0…C−1 is of no class.
        num_classes: C.

    Returns:
        (N,C,H,W) float32 ≥ 0 on the labels' device: distances between centres of pixels, in pixels.

    >>> boundary_distances(torch.tensor([[[0, 0, 1, 1, 1]]]), 2)[0, 1]
    tensor([[2., 1., 1., 2., 3.]])
    """
    to_class = torch.from_numpy(_nearest(labels.numpy(force=True), num_classes)).to(labels.device)
    inside = one_hot(labels, num_classes)
    to_another = to_class.masked_fill(inside, torch.inf).amin(1, keepdim=True)
    distances = torch.where(inside, to_another, to_class)
    return distances.masked_fill((distances == torch.inf) | ~inside.any(1, keepdim=True), 0.0)


def signed_distances(labels: Tensor, num_classes: int) -> Tensor:
    """Return φ of Kervadec et al. 2019 (arXiv:1812.07032), the signed distance of each pixel to the boundary of each
    class.

    For a pixel outside of a class, φ is the distance to the class. For a pixel of the class, φ is 1 − the distance to
    any other class: 0 on the outermost pixels of the class, and negative further inside. `one_hot2dist` of the authors'
    code computes the same, with one exception. For a class that fills the image, that code measures to a pixel that
    does not exist; here φ is 0.

    Args:
        labels: (N,H,W) int64; a pixel whose label is not in 0…C−1 is of no class: φ is 0 there, and no distance is
            measured to it.
        num_classes: C.

    Returns:
        (N,C,H,W) float32 on the labels' device, in pixels.

    >>> signed_distances(torch.tensor([[[0, 0, 1, 1, 1]]]), 2)[0, 1]
    tensor([[ 2.,  1.,  0., -1., -2.]])
    """
    distances = boundary_distances(labels, num_classes)
    within = one_hot(labels, num_classes) & (distances > 0)
    return torch.where(within, 1 - distances, distances)


def _nearest(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the distance of each pixel of labels (N,H,W) to the nearest pixel of each class.

    The result is (N,C,H,W) float32, and ∞ for a class that the image lacks.
    """
    nearest = np.full((len(labels), num_classes, *labels.shape[1:]), np.inf, dtype=np.float32)
    for image, maps in zip(labels, nearest, strict=True):
        for c in range(num_classes):
            others = image != c
            if not others.all():
                maps[c] = cv2.distanceTransform(others.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return nearest
