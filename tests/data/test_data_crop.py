"""Crops: where they lie, what is in them, and that they are a function of (seed, key)."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare
from torch import Tensor

from seglab.data import SegmentationDataModule, Shapes, default_augmentation
from seglab.data.loading.crop import Cropped, draw_pixel, draw_span
from seglab.data.loading.loader import collate
from seglab.data.loading.pipeline import Augmented
from seglab.sample import IGNORE, Sample
from tests.data.masks import Masks, of_masks
from tests.data.test_data_module import Blobs, of_blobs
from tests.data.test_data_order import epochs, same


def cropped(mask: Tensor, size: tuple[int, int], balanced: float = 1.0, seed: int = 0) -> Cropped:
    """Return crops of one sample, whose image tells each pixel's row and column."""
    rows, columns = torch.meshgrid(*map(torch.arange, mask.shape), indexing="ij")
    sample = Sample(torch.stack([rows, columns]).to(torch.uint8), mask, "one")
    return Cropped(Augmented([sample], None, seed), size, balanced, seed)


def corners(crops: Cropped, number: int) -> list[tuple[int, int]]:
    return [(int(image[0, 0, 0]), int(image[1, 0, 0])) for image, _, _ in (crops[epoch, 0] for epoch in range(number))]


MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 200, IGNORE]))


@given(MASKS, st.tuples(st.integers(1, 11), st.integers(1, 11)), st.floats(0, 1), st.integers(0, 99))
def test_a_crop_is_a_part_of_image_and_mask_as_large_as_it_can_be(mask: Any, size: tuple[int, int], balanced: float, epoch: int) -> None:
    image, labels, name = cropped(torch.from_numpy(mask), size, balanced)[epoch, 0]
    shape = tuple(min(full, wanted) for full, wanted in zip(mask.shape, size, strict=True))
    assert name == "one"
    assert labels.shape == image.shape[1:] == shape
    row, column = image[:, 0, 0].tolist()
    rows, columns = torch.meshgrid(torch.arange(row, row + shape[0]), torch.arange(column, column + shape[1]), indexing="ij")
    assert torch.equal(image, torch.stack([rows, columns]).to(torch.uint8))
    assert torch.equal(labels, torch.from_numpy(mask)[row : row + shape[0], column : column + shape[1]])


@given(MASKS, st.tuples(st.integers(1, 11), st.integers(1, 11)), st.integers(0, 99))
def test_a_balanced_crop_holds_a_label_if_there_is_any(mask: Any, size: tuple[int, int], epoch: int) -> None:
    labels = cropped(torch.from_numpy(mask), size)[epoch, 0].mask
    assert bool((labels != IGNORE).any()) == bool((mask != IGNORE).any())


@given(st.integers(1, 12), st.integers(1, 15), st.data(), st.integers(0, 99))
def test_a_span_is_inside_and_holds_its_place(length: int, size: int, data: st.DataObject, seed: int) -> None:
    inside = data.draw(st.none() | st.integers(0, length - 1))
    span = draw_span(length, size, inside, np.random.default_rng(seed))
    places = range(length)[span]
    assert len(places) == min(size, length)
    assert span.stop - span.start == size
    assert inside is None or inside in places


@pytest.mark.parametrize(
    ("inside", "starts"),
    [(None, range(7)), (5, range(2, 6)), (0, range(1)), (1, range(2)), (9, range(6, 7)), (8, range(5, 7))],
)
def test_all_spans_that_can_be_are_equally_likely(inside: int | None, starts: range) -> None:
    """Draw spans of 4 in 10: in the middle the pixel is anywhere in the crop, at a border as far as it allows."""
    rng = np.random.default_rng(0)
    came = Counter(draw_span(10, 4, inside, rng).start for _ in range(2000))
    assert sorted(came) == list(starts)
    if len(starts) > 1:
        assert chisquare(list(came.values())).pvalue > 0.01


def test_classes_are_drawn_alike_and_then_their_pixels() -> None:
    mask = torch.zeros(8, 9, dtype=torch.uint8)
    mask[2, 3] = 1
    mask[5:7, 4:8] = 254
    mask[0] = IGNORE
    came = Counter(draw_pixel(mask, np.random.default_rng(seed)) for seed in range(3000))
    assert None not in came
    of_class: dict[int, list[int]] = {0: [], 1: [], 254: []}
    for (row, column), times in came.items():  # type: ignore[misc]
        of_class[int(mask[row, column])].append(times)
    assert [len(times) for times in of_class.values()] == [8 * 9 - 9 - 1 - 8, 1, 8], "each pixel with a label came"
    assert chisquare([sum(times) for times in of_class.values()]).pvalue > 0.01
    assert all(chisquare(times).pvalue > 0.01 for times in of_class.values() if len(times) > 1)


def test_a_crop_of_one_pixel_is_the_pixel_that_was_drawn() -> None:
    mask = torch.full((20, 20), IGNORE, dtype=torch.uint8)
    mask[:10], mask[19, 19] = 0, 1
    drawn = Counter(int(cropped(mask, (1, 1))[epoch, 0].mask) for epoch in range(1000))
    assert sorted(drawn) == [0, 1]
    assert chisquare([drawn[0], drawn[1]]).pvalue > 0.01


def test_the_part_that_is_balanced_is_as_large_as_asked_for() -> None:
    """A rare pixel is in half of the crops, and in 1 of 100 of the others."""
    mask = torch.full((30, 30), IGNORE, dtype=torch.uint8)
    mask[15, 15] = 0
    crops = cropped(mask, (3, 3), balanced=0.5)
    share = np.mean([bool((crops[epoch, 0].mask == 0).any()) for epoch in range(2000)])
    assert share == pytest.approx(0.5 + 0.5 * 9 / 28**2, abs=0.03)


@pytest.mark.parametrize("mask", [torch.full((6, 8), IGNORE, dtype=torch.uint8), torch.zeros(6, 8, dtype=torch.uint8)])
@pytest.mark.parametrize("balanced", [0.0, 1.0])
def test_all_places_are_equally_likely_where_nothing_is_rare(mask: Tensor, balanced: float) -> None:
    """All ignored, or without a wish: uniform. One class alone: away from the border every corner is as likely."""
    came = Counter(corners(cropped(mask, (3, 3), balanced), 4000))
    assert set(came) == {(row, column) for row in range(4) for column in range(6)}
    if balanced == 0 or mask[0, 0] == IGNORE:
        assert chisquare(list(came.values())).pvalue > 0.01


def test_where_a_crop_lies_follows_from_seed_and_key_alone() -> None:
    mask = torch.zeros(100, 100, dtype=torch.uint8)
    keys = [(0, 0), (1, 0), (0, 0, 1), (0, 0, 2), (1, 0, 1)]
    places = {(seed, key): tuple(cropped(mask, (5, 5), 0.5, seed)[key].image[:, 0, 0].tolist()) for seed in (0, 1) for key in keys}
    assert len(set(places.values())) == len(places)
    backwards = cropped(mask, (5, 5), 0.5)
    assert [tuple(backwards[key].image[:, 0, 0].tolist()) for key in reversed(keys)] == [places[0, key] for key in reversed(keys)]


def test_crops_are_cut_from_what_the_augmentation_makes_and_change_nothing_of_it() -> None:
    def shapes(**arguments: Any) -> SegmentationDataModule:
        return SegmentationDataModule(Shapes(num_train=8, image_size=16), batch_size=4, num_workers=0, **arguments).with_seed(1)

    whole = epochs(shapes().train_dataloader(), 1)[0]
    assert all(same(a, b) for a, b in zip(whole, epochs(shapes(crop=(16, 16), balanced_crops=1.0).train_dataloader(), 1)[0], strict=True))
    parts = epochs(shapes(crop=(5, 7)).train_dataloader(), 1)[0]
    for batch, part in zip(whole, parts, strict=True):
        assert batch.name == part.name
        assert part.image.shape == (4, 3, 5, 7)
        for image, crop in zip(batch.image, part.image, strict=True):
            windows = image.unfold(1, 5, 1).unfold(2, 7, 1).permute(1, 2, 0, 3, 4)
            assert (windows == crop).flatten(2).all(2).any()


def test_a_modules_crops_are_balanced_as_asked_for_and_differ_between_its_seeds() -> None:
    masks = Masks([[[0] * 20] * 20 for _ in range(40)])
    for mask in masks.masks:
        mask[3, 3] = 1
    for balanced, lowest, highest in ((0.0, 0, 4), (1.0, 10, 30)):
        data = of_masks(masks, batch_size=40, balanced_images=0.0)
        data.crop, data.balanced_crops = (1, 1), balanced
        rare = next(iter(data.train_dataloader())).mask == 1
        assert lowest <= int(rare.sum()) <= highest
    data.crop = (5, 5)
    one, other = (
        {name: mask for batch in data.with_seed(s).train_dataloader() for name, mask in zip(batch.name, batch.mask, strict=True)}
        for s in (0, 1)
    )
    assert one.keys() == other.keys()
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize(("size", "crop"), [(None, (18, 18)), (None, (40, 7)), ((12, 10), (16, 16)), (None, (30, 30))])
def test_smaller_images_are_padded_to_the_crop_and_evaluation_stays_whole(
    size: tuple[int, int] | None, crop: tuple[int, int], augment: bool
) -> None:
    data = of_blobs(Blobs(), size, default_augmentation if augment else None)
    data.crop = crop
    batch = next(iter(data.train_dataloader()))
    assert (batch.image.shape, batch.mask.shape) == ((4, 3, *crop), (4, *crop))
    assert torch.equal(batch.image_size, batch.mask_size)
    for name, image, mask, (rows, columns) in zip(batch.name, batch.image, batch.mask, batch.image_size.tolist(), strict=True):
        original = Blobs()[int(name[-1])].mask.shape if size is None else size
        assert (rows, columns) == (min(crop[0], original[0]), min(crop[1], original[1]))
        for outside in ((slice(rows, None), slice(None)), (slice(None), slice(columns, None))):
            assert image[:, *outside].eq(0).all()
            assert mask[outside].eq(IGNORE).all()
        assert augment or mask[:rows, :columns].eq(int(name[-1]) % 2).all()
    whole = of_blobs(Blobs(), size, default_augmentation if augment else None)
    for loader, other in ((data.val_dataloader(), whole.val_dataloader()), (data.test_dataloader(), whole.test_dataloader())):
        assert all(same(a, b) for a, b in zip(loader, other, strict=True))


@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.uint16), (7, torch.float32)])
def test_any_channels_and_types_are_cropped(channels: int, dtype: torch.dtype) -> None:
    data = of_blobs(Blobs(channels, dtype))
    data.crop, data.balanced_crops = (17, 30), 0.5
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (4, channels, 17, 30)
    assert batch.image.dtype == dtype


def test_collating_pads_to_the_largest_or_to_what_is_asked_for() -> None:
    samples = [Masks([[[0, 1]]])[0], Masks([[[2], [2], [2]]])[0]]
    assert collate(samples).mask.tolist() == [[[0, 1], [IGNORE] * 2, [IGNORE] * 2], [[2, IGNORE]] * 3]
    assert collate(samples, at_least=(2, 4)).mask.shape == (2, 3, 4)
    assert collate(samples[:1], at_least=(2, 1)).mask.tolist() == [[[0, 1], [IGNORE] * 2]]
