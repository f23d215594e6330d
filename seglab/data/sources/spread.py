"""Choose samples evenly from an ordered data set."""


def spread(length: int, fraction: float) -> list[int]:
    """Return a `fraction` of the indices 0…length-1: the middles of equally long stretches, in order.

    The number of returned indices is rounded, and at least one.

    The distance of an index to the nearest chosen one is at most half a stretch, rounded up. A choice contains a
    smaller one if its count is an odd multiple of the smaller count, as for the fractions 0.1, 0.3 and 0.5 of 100. No
    rule has this distance and nests all counts, because the middle of one stretch lies between the middles of two.

    >>> spread(10, 0.2), spread(10, 0.6)
    ([2, 7], [0, 2, 4, 5, 7, 9])
    """
    count = max(1, round(fraction * length))
    return [(2 * k + 1) * length // (2 * count) for k in range(count)]
