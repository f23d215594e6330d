"""Distance maps against all pairs of pixels and scipy, and boundary and Hausdorff losses against their definitions.

The definitions are the authors' own.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses.boundary import BoundaryLoss
from seglab.losses.distance import boundary_distances, signed_distances
from seglab.losses.hausdorff import HausdorffDT
from seglab.losses.inputs import one_hot
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

label_maps = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(-1, 4), st.integers(0, 10_000))
"""(rows, columns, the largest label, a seed)."""


def labels_of(rows: int, columns: int, largest: int, seed: int) -> Tensor:
    """(2,rows,columns) labels from −1, which is no class, to `largest`; some of them are rare."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, rows, columns, generator=generator).square() * (largest + 2)).long() - 1


def by_all_pairs(labels: npt.NDArray[np.int64], c: int) -> Floats:
    """Return each pixel's distance in (H,W) labels to the nearest one on the other side of class c, or 0.

    The distance is 0 if no such pixel exists.
    """
    found = np.zeros(labels.shape)
    places = list(np.ndindex(*labels.shape))
    for here in places:
        others = [np.hypot(here[0] - i, here[1] - j) for i, j in places if labels[i, j] >= 0 and (labels[i, j] == c) != (labels[here] == c)]
        found[here] = min(others, default=0) if labels[here] >= 0 else 0
    return found


@settings(deadline=None, max_examples=40)
@given(label_map=label_maps)
def test_distances_are_the_least_of_all_pairs(label_map: tuple[int, int, int, int]) -> None:
    labels = labels_of(*label_map)
    found = boundary_distances(labels, 5)
    assert found.dtype == torch.float32
    expected = np.array([[by_all_pairs(image, c) for c in range(5)] for image in labels.numpy()])
    torch.testing.assert_close(found, torch.from_numpy(expected).float())


@pytest.mark.parametrize("share", [1e-4, 0.01, 0.5])
def test_distances_are_scipys_on_a_large_image(share: float) -> None:
    labels = (torch.rand(1, 300, 501, generator=torch.Generator().manual_seed(1)) < share).long()
    inside = labels[0].numpy() == 1
    expected = distance_transform_edt(inside) + distance_transform_edt(~inside)
    found = boundary_distances(labels, 2)[0]
    torch.testing.assert_close(found, torch.from_numpy(expected).float().expand(2, -1, -1), rtol=1e-6, atol=0)


def test_a_label_beyond_the_classes_is_no_class() -> None:
    labels = torch.tensor([[[0, 7, 7, 1]]])
    torch.testing.assert_close(boundary_distances(labels, 2)[0, 0], torch.tensor([[3.0, 0.0, 0.0, 3.0]]))
    torch.testing.assert_close(signed_distances(labels, 2)[0, 0], torch.tensor([[-2.0, 0.0, 0.0, 3.0]]))


def authors_phi(inside: Bools) -> Floats:
    """Compute one_hot2dist of Kervadec's code for one class of one image (H,W).

    The image contains the class, and pixels outside of it.
    """
    outside = ~inside
    phi: Floats = distance_transform_edt(outside) * outside - (distance_transform_edt(inside) - 1) * inside
    return phi


def authors_field(inside: Bools) -> Floats:
    """The distance field of the Hausdorff loss for one class of one image (H,W), which it does not fill."""
    if not inside.any():
        return np.zeros(inside.shape)
    field: Floats = distance_transform_edt(inside) + distance_transform_edt(~inside)
    return field


def blobs(seed: int, sharpness: float = 4.0) -> tuple[Tensor, Tensor]:
    """Smooth logits (2,3,12,15) and a mask of smooth regions; each image has all 3 classes."""
    generator = torch.Generator().manual_seed(seed)
    logits, other = (F.interpolate(torch.randn(2, 3, 4, 5, generator=generator), (12, 15), mode="bilinear") for _ in range(2))
    mask = other.argmax(1)
    mask[:, 0, :3] = torch.tensor([0, 1, 2])
    return sharpness * logits, mask


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_boundary_loss_is_the_authors(seed: int) -> None:
    logits, mask = blobs(seed)
    phi = np.array([[authors_phi(image == c) for c in range(3)] for image in mask.numpy()])
    torch.testing.assert_close(signed_distances(mask, 3), torch.from_numpy(phi).float())
    expected = (phi * logits.double().softmax(1).numpy()).mean()
    assert BoundaryLoss()(logits, mask).item() == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.5, 1.0, 2.0, 3.0]), sharpness=st.sampled_from([0.5, 4.0]))
def test_hausdorff_loss_is_the_authors(seed: int, alpha: float, sharpness: float) -> None:
    logits, mask = blobs(seed, sharpness)
    p = logits.double().softmax(1).numpy()
    y = np.array([[image == c for c in range(3)] for image in mask.numpy()])
    d_p, d_y = (np.array([[authors_field(m) for m in image] for image in sets]) for sets in (p > 0.5, y))
    expected = ((p - y) ** 2 * (d_p**alpha + d_y**alpha)).mean()
    assert HausdorffDT(alpha)(logits, mask).item() == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.2, 0.8]), present=st.integers(1, 3))
def test_ignored_pixels_are_on_neither_side(seed: int, ignored: float, present: int) -> None:
    """Both losses with ignored pixels, by the distances of all pairs."""
    logits, mask = drawn(seed, ignored, present=present)
    valid = (mask != IGNORE).numpy()[:, None]
    p = logits.double().softmax(1).numpy()
    y = np.array([[image == c for c in range(3)] for image in mask.numpy()])
    labels = mask.where(mask != IGNORE, -1).numpy()
    predicted = np.where(valid[:, 0], np.where(p.max(1) > 0.5, p.argmax(1), 3), -1)
    d_y, d_p = (np.array([[by_all_pairs(image, c) for c in range(3)] for image in maps]) for maps in (labels, predicted))
    phi = np.where(y & (d_y > 0), 1 - d_y, d_y)
    entries = 3 * valid.sum()
    assert BoundaryLoss()(logits, mask).item() == pytest.approx((valid * phi * p).sum() / entries, abs=1e-5)
    expected = (valid * (p - y) ** 2 * (d_p**2 + d_y**2)).sum() / entries
    assert HausdorffDT()(logits, mask).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", [BoundaryLoss(), HausdorffDT()], ids=str)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), padding=st.tuples(*[st.integers(0, 3)] * 4))
def test_ignored_padding_on_any_side_changes_nothing(loss: nn.Module, seed: int, padding: tuple[int, int, int, int]) -> None:
    logits, mask = drawn(seed)
    torch.testing.assert_close(loss(F.pad(logits, padding, value=7.0), F.pad(mask, padding, value=IGNORE)), loss(logits, mask))


@pytest.mark.parametrize("loss", [BoundaryLoss(), HausdorffDT()], ids=str)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_classes_and_images_may_change_places_and_images_be_turned(loss: nn.Module, seed: int) -> None:
    logits, mask = drawn(seed)
    value = loss(logits, mask)
    order = torch.tensor([2, 0, 1])
    renamed = torch.where(mask == IGNORE, IGNORE, order.argsort()[mask.where(mask != IGNORE, 0)])
    torch.testing.assert_close(loss(logits[:, order], renamed), value)
    torch.testing.assert_close(loss(logits.flip(0), mask.flip(0)), value)
    torch.testing.assert_close(loss(logits.rot90(1, (2, 3)), mask.rot90(1, (1, 2))), value)


@pytest.mark.parametrize("loss", [BoundaryLoss, HausdorffDT])
@pytest.mark.parametrize("ignore", [0, 2, -100])
def test_any_value_may_be_the_one_ignored(loss: type[BoundaryLoss] | type[HausdorffDT], ignore: int) -> None:
    logits, mask = drawn(0, ignored=0)
    expected = loss()(logits, mask.where(mask != ignore, IGNORE))
    torch.testing.assert_close(loss(ignore_index=ignore)(logits, mask), expected)


def test_boundary_loss_is_least_for_the_truth() -> None:
    _, mask = blobs(0)
    sure = 60 * one_hot(mask, 3).float()
    assert BoundaryLoss()(sure, mask) < 0
    assert BoundaryLoss()(sure, mask) < BoundaryLoss()(blobs(0)[0], mask) < BoundaryLoss()(-sure, mask)


def test_boundary_loss_says_nothing_of_an_image_of_one_class() -> None:
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    value = BoundaryLoss()(logits, torch.ones(1, 4, 5, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_hausdorff_distances_are_constants_to_the_gradient() -> None:
    logits, mask = (t[:1] for t in blobs(1))
    logits = logits.double().requires_grad_()
    p, y = logits.softmax(1), one_hot(mask, 3)
    d_p, d_y = (torch.tensor(np.array([authors_field(m) for m in sets[0].numpy()])) for sets in (p > 0.5, y))
    expected = ((p - y.double()).square() * (d_p.square() + d_y.square())).mean()
    gradients = [torch.autograd.grad(value, logits)[0] for value in (HausdorffDT()(logits, mask), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_hausdorff_loss_of_a_perfect_prediction_is_zero() -> None:
    _, mask = blobs(2)
    assert HausdorffDT()(200 * one_hot(mask, 3).float(), mask).item() == 0


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be a finite number above 0, got"):
        HausdorffDT(alpha)


def test_repr_is_complete() -> None:
    assert repr(BoundaryLoss(7)) == "BoundaryLoss(ignore_index=7, foreground_only=False)"
    assert repr(HausdorffDT(1.5, 7)) == "HausdorffDT(alpha=1.5, ignore_index=7)"
