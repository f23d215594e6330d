"""A sentence on the sizes of images, so that nobody trains at a size without knowing it."""

from collections.abc import Collection


def size_note(sizes: Collection[tuple[int, int]], resized_to: tuple[int, int] | None, crop: tuple[int, int] | None) -> str:
    """Return a sentence on the sizes of the images, and the size at which they are trained, in rows × columns.

    >>> size_note({(360, 480)}, (352, 480), None)
    'images of 360×480 are trained at 352×480; --data.size sets another size'
    >>> size_note({(512, 512)}, None, None)
    'images of 512×512 are trained at their own size; --data.size sets another size'
    >>> size_note({(375, 500), (333, 500), (500, 375)}, None, (256, 256))
    'images of 3 sizes, from 333×500 to 500×375, are trained in crops of 256×256 at their own sizes; --data.size sets another size'
    """
    ordered = sorted(sizes)
    what = _text(ordered[0]) if len(ordered) == 1 else f"{len(ordered)} sizes, from {_text(ordered[0])} to {_text(ordered[-1])},"
    own = "their own size" if len(ordered) == 1 else "their own sizes"
    trained = own if resized_to is None or ordered == [resized_to] else _text(resized_to)
    cropped = "" if crop is None else f"in crops of {_text(crop)} "
    return f"images of {what} are trained {cropped}at {trained}; --data.size sets another size"


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
