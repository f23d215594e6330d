"""Shapes: the same images wherever and however many are asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.data import Shapes
from seglab.data.sources.drawing import OUTLINES


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 80), st.integers(1, 6), st.integers(0, 30))
def test_an_image_depends_on_its_index_alone(image_size: int, num_shapes: int, index: int) -> None:
    few, many = (Shapes(num_train=n, image_size=image_size, num_shapes=num_shapes).split("train") for n in (index + 1, 1000))
    a, b = few[index], many[index]
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.mask, b.mask)
    assert a.image.shape == (3, image_size, image_size)
    assert a.image.dtype == a.mask.dtype == torch.uint8
    assert int(a.mask.max()) <= num_shapes == few.num_classes - 1


def test_splits_differ_and_end() -> None:
    data = Shapes(num_train=2, num_val=2, num_test=2)
    images = [data.split(split)[0].image for split in ("train", "val", "test")]
    assert not any(torch.equal(a, b) for a, b in zip(images, images[1:] + images[:1], strict=True))
    with pytest.raises(IndexError):
        data.split("val")[2]


def test_label_noise_is_in_the_training_masks_alone() -> None:
    clean, noisy = Shapes(num_train=60, num_val=60), Shapes(num_train=60, num_val=60, label_noise=0.3)
    for one, other, part in ((clean.split("train"), noisy.split("train"), 0.3), (clean.split("val"), noisy.split("val"), 0.0)):
        pairs = [(one[i], other[i]) for i in range(60)]
        assert all(torch.equal(a.image, b.image) for a, b in pairs)
        shape = torch.stack([a.mask for a, _ in pairs]) > 0
        wrong = torch.stack([a.mask != b.mask for a, b in pairs])
        assert not wrong[~shape].any(), "outlines stay where they are"
        assert wrong[shape].float().mean().item() == pytest.approx(part, abs=0.08)


def test_later_classes_are_rarer_and_all_occur() -> None:
    data = Shapes(num_train=300, num_shapes=6).split("train")
    images_with = np.array([sum(int((data[i].mask == label).any()) for i in range(300)) for label in range(1, 7)])
    assert (np.diff(images_with) < 0).all()
    assert images_with[-1] > 20


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_are_inside_at_the_centre_but_for_the_ring_and_end_within_reach(name: str) -> None:
    y, x = np.mgrid[-40:41, -40:41].astype(np.float32)
    distance = OUTLINES[name](x, y, 20.0)
    assert (distance[40, 40] < 0) == (name != "ring")
    assert np.hypot(x, y)[distance < 0].max() <= 22


def test_impossible_arguments_are_refused() -> None:
    for arguments, message in (
        ({"num_val": 0}, "num_val is 0: expected at least one image"),
        ({"image_size": 8}, "image_size is 8: expected at least 16"),
        ({"num_shapes": 7}, "num_shapes is 7: expected 1 to 6"),
        ({"noise": -1.0}, "noise is -1.0: expected 0 or more"),
        ({"label_noise": 1.5}, "label_noise is 1.5: expected a part of the shapes, 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Shapes(**arguments)


def test_classes_have_colours_of_their_own() -> None:
    palette = Shapes(num_shapes=6).palette
    assert palette.shape == (7, 3)
    assert len({tuple(colour) for colour in palette.tolist()}) == 7
