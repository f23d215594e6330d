"""`balanced_images`, `crop` and `balanced_crops`, for every source: in the identity, and what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_data_fraction import EVERY, Maker

NEW = {"balanced_images": 0.25, "crop": (2, 3), "balanced_crops": 0.5}


@EVERY
def test_the_identity_tells_what_is_used_and_nothing_else(make: Maker, tmp_path: Path) -> None:
    plain = make(tmp_path).identity()
    assert make(tmp_path, balanced_images=0, crop=None, balanced_crops=0).identity() == plain
    for names in (("balanced_images",), ("crop",), ("crop", "balanced_crops"), tuple(NEW)):
        data = make(tmp_path, **{name: NEW[name] for name in names})
        told = data.identity()
        assert told == data.with_seed(4).identity()
        assert told == {**plain, **{name: NEW[name] for name in names}}


@EVERY
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"balanced_images": 1.1}, "balanced_images is 1.1: expected 0, which balances nothing, to 1"),
        ({"balanced_images": -0.1}, "balanced_images is -0.1: expected 0"),
        ({"balanced_images": math.nan}, "balanced_images is nan: expected 0"),
        ({"crop": (8, 8), "balanced_crops": 2}, "balanced_crops is 2: expected 0"),
        ({"balanced_crops": 0.5}, "balanced_crops is 0.5, but there are no crops: give crop their rows and columns as well"),
        ({"crop": (0, 8)}, r"crop is \[0, 8\]: expected rows and columns of at least 1, or None to train on whole images"),
        ({"crop": (8,)}, r"crop is \[8\]: expected rows and columns"),
    ],
)
def test_what_cannot_be_is_refused(make: Maker, arguments: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **arguments)
