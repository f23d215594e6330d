"""Boundary IoU against the authors' definition in scipy, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch import Tensor

from seglab.metrics import BoundaryIoU, ConfusionMatrix
from seglab.metrics.boundary import near_contour
from seglab.sample import IGNORE
from tests.metrics.blobs import C, blobs


def of(prediction: Tensor, mask: Tensor, ratio: float = 0.02, classes: int = C, ignore: int = IGNORE) -> Tensor:
    metric = BoundaryIoU(classes, ignore_index=ignore, ratio=ratio)
    metric.update(prediction, mask)
    return metric.compute()


def authors_boundary(mask: NDArray[np.bool_], ratio: float) -> NDArray[np.bool_]:
    """Compute `mask_to_boundary` of Cheng et al.'s code: d erosions by 3×3 of the mask in a frame of one pixel.

    From outside the frame, nothing erodes.
    """
    height, width = mask.shape
    dilation = max(1, round(ratio * np.sqrt(height**2 + width**2)))
    framed = np.pad(mask, 1)
    eroded = binary_erosion(framed, np.ones((3, 3)), iterations=dilation, border_value=1)
    boundary: NDArray[np.bool_] = mask & ~eroded[1:-1, 1:-1]
    return boundary


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    ratio=st.sampled_from([0.02, 0.06, 0.1, 0.2]),
    ignored=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_is_the_authors_definition(seed: int, height: int, width: int, ratio: float, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = blobs(generator, height, width), blobs(generator, height, width)
    hole = torch.rand(mask.shape, generator=generator) < ignored
    found = of(prediction[None], mask.masked_fill(hole, IGNORE)[None], ratio)
    for index in range(C):
        truth, predicted = (authors_boundary(((labels == index) & ~hole).numpy(), ratio) for labels in (mask, prediction))
        union = (truth | predicted).sum()
        expected = (truth & predicted).sum() / union if union else np.nan
        assert found[index].item() == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_by_hand() -> None:
    mask = torch.zeros(1, 7, 9).long()
    mask[0, 1:6, 1:6] = 1  # 5×5: the ring of its contour has 16 pixels, the 3×3 inside are far
    prediction = mask.clone()
    prediction[0, 1:6, 6] = 1  # 5×6: a ring of 18, of which 5 are in the new column; the 3 below its last are far, and were contour
    assert of(prediction, mask)[1].item() == (18 - 5) / (16 + 18 - 13)


def test_the_border_of_the_image_is_contour() -> None:
    mask = torch.zeros(1, 5, 5).long()
    prediction = mask.clone()
    prediction[0, 2, 2] = 1
    # Truth: the ring of 16 along the border; prediction: the same, and the 8 around its one other pixel, which is all
    # of class 1.
    assert of(prediction, mask)[:2].tolist() == [16 / 24, 0]
    assert of(prediction, mask)[2].isnan()


def test_a_hole_is_contour_of_both_and_counts_in_neither() -> None:
    mask = torch.zeros(1, 7, 7).long()
    mask[0, 3, 3] = IGNORE
    prediction = torch.zeros(1, 7, 7).long()
    prediction[0, 3, 3] = 1
    metric = BoundaryIoU(C)
    metric.update(prediction, mask)
    assert metric.union.tolist() == [24 + 8, 0, 0]
    assert metric.intersection.tolist() == [24 + 8, 0, 0]


def test_a_small_error_of_a_large_object_counts_more_than_in_iou() -> None:
    mask = torch.zeros(1, 100, 100).long()
    mask[0, 10:90, 10:90] = 1
    prediction = mask.roll(2, 2)
    iou = ConfusionMatrix(2)
    iou.update(prediction, mask)
    assert iou.compute().per_class["iou"][1] > 0.95
    assert of(prediction, mask, classes=2)[1] < 0.6


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 20), width=st.integers(1, 20))
def test_with_all_pixels_near_it_is_iou(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = blobs(generator, height, width)[None], blobs(generator, height, width)[None]
    iou = ConfusionMatrix(C)
    iou.update(prediction, mask)
    assert torch.equal(of(prediction, mask, ratio=1.0).nan_to_num(-1), iou.compute().per_class["iou"].nan_to_num(-1))


@pytest.mark.parametrize(("height", "width", "distance"), [(360, 480, 12), (7, 24, 1), (45, 60, 2), (75, 100, 2), (105, 140, 4), (1, 1, 1)])
def test_distance_is_rounded_as_in_the_authors_code(height: int, width: int, distance: int) -> None:
    """2 % of a diagonal of 600, 25, 75, 125 and 175: halves go to the even number."""
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    metric = BoundaryIoU(2)
    metric.update(mask, mask)
    assert metric.union[0] == height * width - max(0, height - 2 * distance) * max(0, width - 2 * distance)


def test_near_contour_for_any_batch_shape() -> None:
    labels = torch.randint(0, 2, (2, 3, 9, 8), generator=torch.Generator().manual_seed(0)).repeat_interleave(4, 2)
    whole = near_contour(labels, 2, outside=-1)
    assert whole.shape == labels.shape
    for outer in range(2):
        for inner in range(3):
            assert torch.equal(whole[outer, inner], near_contour(labels[outer, inner], 2, outside=-1))


@pytest.mark.parametrize(
    ("dtype", "ignore"),
    [(torch.uint8, 255), (torch.int16, -100), (torch.int32, 65535), (torch.int32, -65535), (torch.int64, -1), (torch.uint16, 65535)],
)
def test_any_integer_dtype_and_ignored_label(dtype: torch.dtype, ignore: int) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, mask = (torch.stack([blobs(generator, 20, 20) for _ in range(2)]) for _ in range(2))
    hole = torch.rand(mask.shape, generator=generator) < 0.05
    expected = of(prediction, mask.masked_fill(hole, IGNORE), 0.1)
    found = of(prediction.to(dtype), mask.masked_fill(hole, ignore).to(dtype), 0.1, ignore=ignore)
    assert torch.equal(found, expected)
    assert found.dtype == torch.float64


def test_uint8_does_not_wrap_around() -> None:
    mask = torch.full((1, 4, 4), 156, dtype=torch.uint8)  # −100 modulo 256
    assert of(mask, mask, classes=200, ignore=-100)[156] == 1


def test_nan_where_a_class_is_in_neither() -> None:
    assert of(torch.zeros(2, 4, 4).long(), torch.full((2, 4, 4), IGNORE)).isnan().all()


def test_what_lies_outside_of_its_size_does_not_count() -> None:
    mask = torch.zeros(1, 30, 30, dtype=torch.uint8)
    mask[0, :20, :10] = 1
    prediction = mask.roll(1, 1)
    cut, own = BoundaryIoU(C, ratio=0.1), BoundaryIoU(C, ratio=0.1)
    cut.update(prediction, mask, torch.tensor([[20, 12]]))
    own.update(prediction[:, :20, :12], mask[:, :20, :12])
    assert torch.equal(cut.union, own.union)
    assert torch.equal(cut.intersection, own.intersection)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (torch.tensor([4, 4]), r"size must be \(1,2\) integer"),
        (torch.tensor([[4.0, 4.0]]), "integer"),
        (torch.tensor([[4, 6]]), "within the 4×5 pixels"),
        (torch.tensor([[0, 4]]), "within"),
        (torch.tensor([[5, 4]]), "rows first"),
    ],
)
def test_sizes_of_no_such_image_raise(size: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoundaryIoU(C).update(torch.zeros(1, 4, 5).long(), torch.zeros(1, 4, 5).long(), size)


@pytest.mark.parametrize(("where", "value"), [("mask", C), ("mask", 254), ("prediction", C), ("prediction", -1), ("prediction", 2**16)])
def test_values_outside_the_classes_raise_and_leave_the_state(where: str, value: int) -> None:
    """The value is far from all contours, and in an ignored pixel; C also marks pixels of no class in the metric."""
    labels = {"prediction": torch.zeros(1, 40, 40).long(), "mask": torch.zeros(1, 40, 40).long()}
    labels["mask"][0, 0, 0] = IGNORE
    metric = BoundaryIoU(C)
    metric.update(**labels)
    before = metric.union.clone()
    labels[where][0, 0, 0] = value
    with pytest.raises(ValueError, match=f"{where} holds {value}"):
        metric.update(**labels)
    assert torch.equal(metric.union, before)


@pytest.mark.parametrize(
    ("classes", "ignore", "ratio", "message"),
    [
        (1, 255, 0.02, "at least 2"),
        (3, 0, 0.02, "is one of"),
        (3, 255, 0.0, "ratio"),
        (3, 255, 1.1, "ratio"),
        (3, 255, float("nan"), "ratio"),
    ],
)
def test_constructor_errors(classes: int, ignore: int, ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoundaryIoU(classes, ignore_index=ignore, ratio=ratio)
