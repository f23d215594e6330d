"""The interval over seeds and images: its coverage in a two-way model, and its width by bootstrap.

The pigeonhole bootstrap (Owen 2007) checks the width.
"""

import math

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers import statistics
from seglab.compare.numbers.images import crossed_interval

STUDIES = 1500


def two_way(shape: tuple[int, int, int], sd: tuple[float, float, float], seed: int) -> np.ndarray:
    """Return (studies, seeds, images) differences around 0, the sum of three random effects.

    There is one effect of each seed, one of each image, and one of each run on each image.
    """
    studies, seeds, images = shape
    generator = np.random.default_rng(seed)
    rows, columns = generator.normal(0, sd[0], (studies, seeds, 1)), generator.normal(0, sd[1], (studies, 1, images))
    found: np.ndarray = rows + columns + generator.normal(0, sd[2], shape)
    return found


def image_error(differences: np.ndarray) -> np.ndarray:
    """Return the standard error over images of the mean over seeds and images: (..., n, N) -> (...).

    It is the limit of the bootstrap over images.
    """
    found: np.ndarray = differences.mean(axis=-2).std(axis=-1) / math.sqrt(differences.shape[-1])
    return found


@pytest.mark.parametrize(("n", "images", "sd"), [(8, 60, (0.3, 2.0, 1.0)), (6, 40, (1.0, 4.0, 1.0)), (10, 100, (0.1, 1.0, 0.5))])
def test_it_covers_the_difference_over_new_seeds_and_images(n: int, images: int, sd: tuple[float, float, float]) -> None:
    drawn = two_way((STUDIES, n, images), sd, seed=5)
    errors, over_images = image_error(drawn), drawn.mean(axis=-1)
    ends = np.array([crossed_interval(seeds, float(error), images) for seeds, error in zip(over_images, errors, strict=True)])
    assert 0.93 <= np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0)) <= 0.97
    low, high = statistics.t_interval(over_images)
    assert np.mean((low <= 0) & (high >= 0)) < 0.93  # the interval over seeds knows nothing of new images


def test_its_width_agrees_with_the_pigeonhole_bootstrap() -> None:
    """Resampling seeds and images overestimates the variance only by the residual's share: here 1/60 and 1/30 of it."""
    drawn = two_way((1, 30, 60), (0.5, 2.0, 1.0), seed=6)[0]
    generator = np.random.default_rng(0)
    rows, columns = generator.integers(0, 30, (4000, 30)), generator.integers(0, 60, (4000, 60))
    bootstrap = np.std([drawn[np.ix_(row, column)].mean() for row, column in zip(rows, columns, strict=True)])
    low, high = crossed_interval(drawn.mean(axis=-1), float(image_error(drawn)), 60)
    assert (high - low) / 2 == pytest.approx(1.98 * bootstrap, rel=0.06)


def test_one_source_alone_is_students_interval() -> None:
    differences = np.array([0.1, 0.4, 0.2, 0.3])
    expected = [float(end) for end in statistics.t_interval(differences)]
    assert crossed_interval(differences, 0.0, 100) == pytest.approx(expected)
    low, high = crossed_interval(np.full(4, 0.2), 0.05, 21)
    assert (high - low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 20) * 0.05)
    assert crossed_interval(np.full(4, 0.2), 0.0, 21) == (0.2, 0.2)
    assert np.isnan([crossed_interval(np.array([0.2]), 0.1, 21), crossed_interval(differences, 0.1, 1)]).all()
