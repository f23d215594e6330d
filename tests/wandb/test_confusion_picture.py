"""The picture of a confusion matrix: its cells have the shares, and any number of classes is drawn at once."""

import time

import numpy as np
import pytest
from matplotlib import colormaps

from seglab.tracking.confusion_picture import confusion_picture


@pytest.mark.parametrize("count", [1, 2, 19, 53, 54, 150, 200, 201, 1000])
def test_cells_have_the_colours_of_the_shares(count: int) -> None:
    matrix = np.random.default_rng(0).integers(0, 100, (count, count)) + 400 * np.eye(count, dtype=np.int64)
    matrix[-1] = 0  # a class without a pixel
    confusion_picture(matrix[:1, :1], ["loads the fonts"])
    began = time.perf_counter()
    picture = confusion_picture(matrix, [f"class number {label}" for label in range(count)])
    assert time.perf_counter() - began < 5  # matplotlib takes 20 s for 150 classes
    assert max(picture.size) < 2600

    pixels = np.asarray(picture)
    cell = 36 if count <= 38 else max(11 if count <= 200 else 1, 1400 // count)
    left = pixels.shape[1] - 6 - cell * count
    corners = pixels[6 : 6 + cell * count : cell, left : left + cell * count : cell]  # no number reaches the corner of its cell
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    np.testing.assert_array_equal(corners, colormaps["Blues"](share, bytes=True)[..., :3])


@pytest.mark.parametrize("names", [["", "b"], ["道路", "Straße"], ["\ue000", "a"], ["long " * 40, "b"]])
def test_any_name_is_drawn(names: list[str]) -> None:
    picture = confusion_picture(np.array([[3, 1], [0, 4]]), names)
    assert picture.width >= 2 * 36
