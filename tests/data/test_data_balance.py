"""Class imbalance in numbers: counts of pixels, and the class weights that follow."""

import math
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from seglab.data import CamVid, SegmentationDataModule, class_pixels, effective_number, inverse_frequency, median_frequency
from seglab.data.balance import image_probabilities
from seglab.sample import IGNORE
from tests.data.masks import Masks, of_masks, rare
from tests.data.test_data_camvid import REAL, real
from tests.data.test_data_fraction import a_folder
from tests.data.test_data_order import epochs

Counts = npt.NDArray[np.int64]
COUNTS = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(0, 7)).filter(np.any)
WEIGHTS = (inverse_frequency, median_frequency, effective_number)


def test_pixels_are_counted_at_the_original_size_and_ignored_ones_are_not() -> None:
    masks = Masks([[[0, 0, 2], [0, IGNORE, 2]], [[IGNORE, IGNORE]], [[1], [1], [1]]])
    counts = class_pixels(masks)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[3, 0, 2], [0, 0, 0], [0, 3, 0]]
    data = of_masks(masks)
    data.size = (2, 2)
    assert data.class_pixels().tolist() == counts.tolist()
    assert class_pixels(Masks([])).shape == (0, 3)


@settings(deadline=None)  # threads are started
@given(st.lists(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, 2, IGNORE])), max_size=4))
def test_counts_are_those_of_comparing_each_class(masks: list[Any]) -> None:
    counts = class_pixels(Masks([mask.tolist() for mask in masks]))
    assert counts.tolist() == [[int((mask == label).sum()) for label in range(3)] for mask in masks]


def test_a_label_outside_the_classes_is_not_counted_away(tmp_path: Path) -> None:
    data = a_folder(tmp_path, balanced_images=0.5)
    Image.new("L", (6, 4), 7).save(tmp_path / "folder" / "train" / "masks" / "04.png")
    with pytest.raises(ValueError, match=r"train/masks/04.png: label 7, the classes are 0…2"):
        data.class_pixels()
    with pytest.raises(ValueError, match=r"train/masks/04.png: label 7, the classes are 0…2"):
        next(iter(data.train_dataloader()))


def test_pixels_are_counted_once_for_all_seeds_and_cannot_be_changed() -> None:
    masks = rare(9)
    data = of_masks(masks)
    assert len(data.with_seed(0).train_dataloader()) == 4
    assert masks.reads == 0, "the number of batches is known without reading"
    first = data.with_seed(1).class_pixels()
    assert masks.reads == 9
    assert data.with_seed(2).class_pixels() is first
    assert masks.reads == 9
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_what_is_counted_is_counted_before_a_run_is_timed() -> None:
    for balanced, reads in ((1.0, 9), (0.0, 0)):
        masks = rare(9)
        of_masks(masks, balanced_images=balanced).fill_cache()
        assert masks.reads == reads


def test_the_part_that_is_used_is_counted() -> None:
    masks = rare(10)
    data = of_masks(masks, train_fraction=0.4)
    kept = list(data.source.chosen(masks, 0.4))
    assert data.class_pixels().tolist() == class_pixels(masks)[kept].tolist()
    loader = data.train_dataloader()
    names = {name for epoch in epochs(loader, 20) for batch in epoch for name in batch.name}
    expected = image_probabilities(class_pixels(masks)[kept], 1.0)
    assert names == {f"mask {index}" for index, p in zip(kept, expected, strict=True) if p > 0}


@given(COUNTS)
def test_inverse_frequency_is_scikit_learns(counts: Counts) -> None:
    labels = np.repeat(np.arange(counts.shape[1]), counts.sum(axis=0))
    present = np.unique(labels)
    weights = np.array(inverse_frequency(counts))
    np.testing.assert_allclose(weights[present], compute_class_weight("balanced", classes=present, y=labels), rtol=1e-14)
    assert weights.sum() == pytest.approx(weights[present].sum())
    assert weights @ counts.sum(axis=0) == pytest.approx(counts.sum()), "the mean weight of a pixel is 1"


def test_median_frequency_of_a_case_by_hand() -> None:
    masks = Masks([[[0, 0, 0, 0, 0, 0], [0, 0, 1, 1, IGNORE, IGNORE]], [[0, 0], [2, IGNORE]]])
    # class 0: 10 of 13 pixels, class 1: 2 of the first image's 10, class 2: 1 of the second's 3; the median is 1/3
    assert median_frequency(class_pixels(masks)) == pytest.approx(((1 / 3) / (10 / 13), (1 / 3) / (2 / 10), 1.0))


@given(COUNTS)
def test_median_frequency_is_that_of_its_definition(counts: Counts) -> None:
    frequencies = {}
    for label in range(counts.shape[1]):
        images = [row for row in counts.tolist() if row[label] > 0]
        if images:
            frequencies[label] = sum(row[label] for row in images) / sum(sum(row) for row in images)
    ordered = sorted(frequencies.values())
    median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    expected = [median / frequencies[label] if label in frequencies else 0 for label in range(counts.shape[1])]
    assert median_frequency(counts) == pytest.approx(expected)


def exact_effective_numbers(counts: list[int], beta: str) -> list[Decimal]:
    """(1-β)/(1-β^n) of mean 1, in 80 digits."""
    with localcontext() as context:
        context.prec = 80
        weights = [(1 - Decimal(beta)) / (1 - Decimal(beta) ** n) for n in counts]
        return [weight * len(counts) / sum(weights) for weight in weights]


@pytest.mark.parametrize("beta", ["0", "0.5", "0.9", "0.999999", "0.999999999", "0.9999999999999"])
@pytest.mark.parametrize("counts", [[1, 2], [1, 10**9], [10**6, 10**7, 10**9], [3, 4, 5, 10**12]])
def test_effective_numbers_are_exact_for_few_pixels_and_for_billions(counts: list[int], beta: str) -> None:
    exact = [float(weight) for weight in exact_effective_numbers(counts, str(Decimal(float(beta))))]
    np.testing.assert_allclose(effective_number(np.array([counts]), float(beta)), exact, rtol=1e-13)


@given(COUNTS)
def test_effective_numbers_lie_between_equal_weights_and_inverse_frequencies(counts: Counts) -> None:
    present = counts.any(axis=0)
    assert effective_number(counts, 0.0) == tuple(present.astype(float))
    inverse = np.array(inverse_frequency(counts))
    np.testing.assert_allclose(effective_number(counts, math.nextafter(1, 0)), inverse / inverse[present].mean(), rtol=1e-12)


@given(COUNTS, st.sampled_from(WEIGHTS), st.randoms())
def test_class_weights_follow_their_classes_and_absent_ones_have_none(counts: Counts, weigh: Any, random: Any) -> None:
    weights = weigh(counts)
    assert [weight > 0 for weight in weights] == counts.any(axis=0).tolist()
    assert all(isinstance(weight, float) and math.isfinite(weight) for weight in weights)
    order = list(range(counts.shape[1]))
    random.shuffle(order)
    assert weigh(counts[:, order]) == pytest.approx([weights[label] for label in order])
    assert weigh(np.vstack([counts, 0 * counts])) == pytest.approx(weights), "images without a label change nothing"
    assert weigh(counts[::-1]) == pytest.approx(weights)


@pytest.mark.parametrize("weigh", WEIGHTS)
def test_one_class_alone_weighs_one(weigh: Any) -> None:
    assert weigh(np.array([[0, 5], [0, 3]])) == (0.0, 1.0)


@pytest.mark.parametrize("weigh", [*WEIGHTS, lambda counts: image_probabilities(counts, 1.0)])
def test_counts_that_say_nothing_are_refused(weigh: Any) -> None:
    with pytest.raises(ValueError, match="none of the 2 images has a pixel of any class: expected masks that are not all ignored"):
        weigh(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="none of the 0 images"):
        weigh(np.zeros((0, 3), np.int64))
    with pytest.raises(ValueError, match=r"pixels have the shape \(3,\): expected \(N,C\)"):
        weigh(np.ones(3, np.int64))


@pytest.mark.parametrize("beta", [1.0, -0.1, 1.5, math.nan])
def test_a_beta_out_of_its_range_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match=rf"beta is {beta}: expected at least 0 and below 1"):
        effective_number(np.ones((1, 2), np.int64), beta)


SEGNET = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)
"""github.com/alexgkendall/SegNet-Tutorial, Models/segnet_train.prototxt."""
OTHERS = {
    10682767: (366, 0.256527308), 14750079: (365, 0.185282667), 623349: (366, 4.396287575), 20076880: (367, 0.136869322),
    2845085: (349, 0.918473131), 6166762: (319, 0.387319864), 743859: (351, 3.533074291), 714595: (173, 1.812685267),
    3719877: (360, 0.724619798), 405385: (317, 5.855012981), 184967: (201, 8.136508447), 2503995: (367, 1.097409921),
}  # fmt: skip
"""Pixels, images and weight of each class of the same masks: github.com/alexgkendall/caffe-segnet, issue 37. The
twelfth class is void.
"""


@real
def test_camvids_weights_are_what_others_found_and_nearly_segnets() -> None:
    counts = SegmentationDataModule(CamVid(REAL)).class_pixels()
    void = 360 * 480 - counts.sum(axis=1)
    twelve = np.column_stack([counts, void])
    assert twelve.sum(axis=0).tolist() == list(OTHERS)
    assert (twelve > 0).sum(axis=0).tolist() == [images for images, _ in OTHERS.values()]
    assert median_frequency(twelve) == pytest.approx([weight for _, weight in OTHERS.values()], rel=2e-9)

    ratio = np.array(SEGNET) / median_frequency(counts)
    sign = CamVid.class_names.index("sign")
    others = np.delete(ratio, sign)
    factor = math.exp(np.log(others).mean())
    assert np.abs(others / factor - 1).max() < 0.1
    assert ratio[sign] / factor == pytest.approx(2.74, abs=0.01), "not what its pixels tell"
