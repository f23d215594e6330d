"""Euclidean distances to the boundaries of classes."""

import cv2
import numpy as np
import torch
from torch import Tensor

from seglab.losses.inputs import one_hot


def boundary_distances(labels: Tensor, num_classes: int) -> Tensor:
    """How far each pixel is from the other side of each class's boundary: from the class where it is outside, else from another class.

    A pixel of no class is on neither side: no distance is measured to it, and its own is 0. So is every distance of a class that the
    image lacks, or that all labelled pixels belong to, as it has no boundary.

    The transform (Felzenszwalb & Huttenlocher 2012, in OpenCV) is exact but for float32's rounding. It runs on the CPU, once for each
    class that is in an image: about 1 ms for 256×256 pixels. Labels on another device are copied there, which waits for that device.

    Args:
        labels: (N,H,W) int64; what is not in 0…C−1 is of no class.
        num_classes: C.

    Returns:
        (N,C,H,W) float32 ≥ 0 on the labels' device, between centres of pixels, in pixels.

    >>> boundary_distances(torch.tensor([[[0, 0, 1, 1, 1]]]), 2)[0, 1]
    tensor([[2., 1., 1., 2., 3.]])
    """
    to_class = torch.from_numpy(_nearest(labels.numpy(force=True), num_classes)).to(labels.device)
    inside = one_hot(labels, num_classes)
    to_another = to_class.masked_fill(inside, torch.inf).amin(1, keepdim=True)
    distances = torch.where(inside, to_another, to_class)
    return distances.masked_fill((distances == torch.inf) | ~inside.any(1, keepdim=True), 0.0)


def signed_distances(labels: Tensor, num_classes: int) -> Tensor:
    """φ of Kervadec et al. 2019 (arXiv:1812.07032): how far outside of each class a pixel is, 0 on its own outermost pixels, −d inside.

    It is what `one_hot2dist` of the authors' code computes (outside, the distance to the class; inside, 1 − the distance to what is
    not), except that a class that fills the image has φ = 0: that code measures to a pixel that is not there.

    Args:
        labels: (N,H,W) int64; what is not in 0…C−1 is of no class: φ is 0 there, and no distance is measured to it.
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
    """The distance of each pixel of labels (N,H,W) to the nearest one of each class, (N,C,H,W) float32; ∞ where the image has none."""
    nearest = np.full((len(labels), num_classes, *labels.shape[1:]), np.inf, dtype=np.float32)
    for image, maps in zip(labels, nearest, strict=True):
        for c in range(num_classes):
            others = image != c
            if not others.all():
                maps[c] = cv2.distanceTransform(others.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return nearest
