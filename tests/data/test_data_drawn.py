"""An order that favours images of rare classes: how often each image comes.

Workers, ranks and a resume change nothing.
"""

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from seglab.data import SegmentationDataModule, Shapes, class_pixels
from seglab.data.balance import image_probabilities
from seglab.data.loading.sampler import EpochSampler
from seglab.sample import IGNORE
from tests.data.masks import Masks, of_masks, rare
from tests.data.test_data_balance import COUNTS, Counts
from tests.data.test_data_fraction import a_shapes
from tests.data.test_data_order import epochs, same, with_ranks


@given(COUNTS, st.floats(0, 1))
def test_an_images_probability_is_that_of_drawing_one_of_its_pixels(counts: Counts, balanced: float) -> None:
    pixels = [(image, label) for image, label in product(*map(range, counts.shape)) for _ in range(counts[image, label])]
    of_class = Counter(label for _, label in pixels)
    expected = np.full(len(counts), (1 - balanced) / len(counts))
    for image, label in pixels:
        expected[image] += balanced / len(of_class) / of_class[label]
    p = image_probabilities(counts, balanced)
    np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-15)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert (image_probabilities(counts, 1.0) > 0).tolist() == counts.any(axis=1).tolist()


def drawn(probabilities: npt.NDArray[np.float64] | None, seed: int, epochs: int, length: int) -> list[list[tuple[int, ...]]]:
    sampler = EpochSampler(length, 1, seed, probabilities=None if probabilities is None else lambda: probabilities)
    orders = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    return orders


def test_images_come_as_often_as_their_probability_says() -> None:
    counts = class_pixels(rare(12))
    for balanced in (0.4, 1.0):
        p = image_probabilities(counts, balanced)
        came = Counter(key[1] for epoch in drawn(p, 7, 500, 12) for key in epoch)
        observed = np.array([came[index] for index in range(12)])
        assert (observed[p == 0] == 0).all()
        assert chisquare(observed[p > 0], 6000 * p[p > 0]).pvalue > 0.01
        assert chisquare(observed[:-1], np.full(11, observed[:-1].mean())).pvalue < 1e-6, "uniform it is not"


@given(st.integers(1, 40), st.integers(0, 2**40), st.integers(0, 3))
def test_without_balance_the_order_is_the_permutation_it_always_was(length: int, seed: int, epoch: int) -> None:
    permutation = np.random.default_rng([1, seed, epoch]).permutation(length)
    assert drawn(None, seed, epoch + 1, length)[epoch] == [(epoch, int(index)) for index in permutation]


def test_recorded_orders_stay() -> None:
    """Studies that were made without balance are to be made again, bit for bit."""
    assert [[index for _, index in epoch] for epoch in drawn(None, 3, 2, 8)] == [[3, 0, 2, 5, 4, 7, 6, 1], [6, 7, 2, 3, 5, 0, 4, 1]]
    data = a_shapes(Path(), balanced_images=0)
    assert data.train_dataloader().sampler.probabilities is None


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([1, 2, 3]), st.integers(0, 5))
def test_ranks_share_what_is_drawn_and_a_resume_continues_it(
    length: int, per_rank: int, seed: int, world_size: int, first_batch: int
) -> None:
    batch_size = per_rank * world_size
    length = max(length, batch_size)
    p = np.random.default_rng(seed).dirichlet(np.full(length, 0.3))

    def batches(rank: int, world_size: int, first: int = 0) -> list[list[tuple[int, ...]]]:
        sampler = EpochSampler(length, batch_size, seed, rank, world_size, lambda: p)
        sampler.set_epoch(4)
        sampler.first_batch = first
        keys, part = list(sampler), sampler.batch_size_per_rank
        assert len(keys) == max(0, len(sampler) - first * part)
        return [keys[i : i + part] for i in range(0, len(keys), part)]

    alone = batches(0, 1)
    parts = [batches(rank, world_size) for rank in range(world_size)]
    assert [sorted(batch) for batch in alone] == [sorted(key for part in step for key in part) for step in zip(*parts, strict=True)]
    keys = [key for batch in alone for key in batch]
    assert len(keys) == len(set(keys)) == length - length % batch_size, "no key comes twice, however often its sample does"
    for index, times in Counter(key[1] for key in keys).items():
        assert [key for key in keys if key[1] == index] == [(4, index), *((4, index, again) for again in range(1, times))]
    assert [batches(rank, world_size, first_batch) for rank in range(world_size)] == [part[first_batch:] for part in parts]


BALANCED: dict[str, Any] = {"balanced_images": 1.0, "crop": (12, 10), "balanced_crops": 0.5}


def unlike(**arguments: Any) -> SegmentationDataModule:
    source = Shapes(num_train=9, num_val=3, num_test=2, image_size=16)
    return SegmentationDataModule(source, batch_size=4, **{"num_workers": 0, **BALANCED, **arguments})


def test_an_image_that_comes_again_is_augmented_and_cropped_anew() -> None:
    for arguments in ({"crop": None, "balanced_crops": 0.0}, {"augmentation": None}):
        images: dict[str, list[torch.Tensor]] = {}
        for batch in epochs(unlike(**arguments).train_dataloader(), 1)[0]:
            for name, image in zip(batch.name, batch.image, strict=True):
                images.setdefault(name, []).append(image)
        again = [these for these in images.values() if len(these) > 1]
        assert again
        assert not any(torch.equal(one, other) for these in again for i, one in enumerate(these) for other in these[:i])


def test_workers_ranks_and_a_resume_change_nothing_of_balanced_crops() -> None:
    alone, helped = (epochs(unlike(num_workers=workers).with_seed(3).train_dataloader(), 2) for workers in (0, 2))
    assert all(same(a, b) for left, right in zip(alone, helped, strict=True) for a, b in zip(left, right, strict=True))
    ranks = [epochs(with_ranks(unlike().with_seed(3), rank, 2).train_dataloader(), 2) for rank in (0, 1)]
    for epoch, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        for batch, (one, two) in zip(epoch, zip(*parts, strict=True), strict=True):
            assert batch.name[0::2] == one.name
            assert batch.name[1::2] == two.name
            assert torch.equal(batch.image[0::2], one.image)
            assert torch.equal(batch.mask[1::2], two.mask)
    cut = unlike().with_seed(3).train_dataloader()
    cut.sampler.set_epoch(1)
    next(iter(cut))
    resumed = unlike().with_seed(3).train_dataloader()
    resumed.load_state_dict(cut.state_dict())
    resumed.sampler.set_epoch(1)
    assert all(same(a, b) for a, b in zip(resumed, alone[1][1:], strict=True))


def test_data_without_any_label_cannot_be_balanced() -> None:
    data = of_masks(Masks([[[IGNORE]], [[IGNORE]]]))
    with pytest.raises(ValueError, match="none of the 2 images has a pixel of any class"):
        next(iter(data.train_dataloader()))


def test_one_class_alone_is_drawn_by_its_pixels() -> None:
    p = image_probabilities(class_pixels(Masks([[[1, 1, 1]], [[1, IGNORE, IGNORE]]])), 1.0)
    assert p.tolist() == [0.75, 0.25]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.floats(0, 1), st.integers(0, 3))
def test_any_balance_trains_an_epoch_of_whole_batches(length: int, balanced: float, seed: int) -> None:
    data = of_masks(rare(length), balanced_images=balanced).with_seed(seed)
    loader = data.train_dataloader()
    names = [name for batch in loader for name in batch.name]
    assert len(names) == 2 * len(loader) == length - length % 2
    assert balanced < 1 or f"mask {length - 1}" not in names
