"""Uncertainty of a difference over the images of the test set, besides that over the seeds."""

import math

import scipy.stats

from seglab.compare.numbers.statistics import Floats, mean, standard_deviation


def crossed_interval(seed_differences: Floats, image_se: float, num_images: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean difference over new seeds and new images.

    Seeds and images are crossed: every run is tested on the same images. With s² the variance of the n differences over
    the seeds, SE² = s²/n + SE_img². The interval is the mean ± t_ν SE with Satterthwaite's (1946) degrees of freedom ν
    = SE⁴ / ((s²/n)²/(n - 1) + SE_img⁴/(N - 1)). Variation of a seed on single images is in both terms, so the interval
    is slightly wide.

    Args:
        seed_differences: (n,) paired differences, each over the whole test set.
        image_se: SE_img, the standard error of the mean difference over the images, for example by the bootstrap over
            images.
        num_images: number N of images, or of groups of images if groups were resampled.
        level: share of intervals that cover the mean difference.

    Returns:
        Low and high, in units of the differences; NaN below two seeds or two images.
    """
    n = len(seed_differences)
    if n < 2 or num_images < 2:
        return math.nan, math.nan
    centre, seeds, images = float(mean(seed_differences)), float(standard_deviation(seed_differences)) ** 2 / n, image_se**2
    if seeds + images == 0:
        return centre, centre
    freedom = (seeds + images) ** 2 / (seeds**2 / (n - 1) + images**2 / (num_images - 1))
    half = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(seeds + images)
    return centre - half, centre + half
