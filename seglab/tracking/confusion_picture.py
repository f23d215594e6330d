"""Draw a confusion matrix, of any number of classes, within a fraction of a second."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seglab.callbacks.sheet import fonts_for, readable

_SIDE = 1400
"""Largest number of pixels of the matrix's side, with fewer than 128 classes."""
_CELL, _NUMBERED, _NAMED = 36, 26, 11
"""Pixels of a cell: the most, the fewest for a number, and the fewest for a name beside it."""
_MOST_NAMES = 200
_GAP = 6


def confusion_picture(matrix: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """Return a picture of a confusion matrix: for each true class, the share of its pixels by prediction.

    Rows are the truth, columns the prediction. The darker a cell, the larger the share. Up to 53 classes have their
    shares in percent, and up to 200 their names. matplotlib lays out each number, which takes 20 s for 150 classes.

    Args:
        matrix: (C,C) pixels, truth × prediction.
        names: the names of the classes.
    """
    count = len(names)
    named = count <= _MOST_NAMES
    cell = max(_NAMED if named else 1, min(_CELL, _SIDE // count))
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    labels = [_text(name, min(12, cell - 1)) for name in readable(names)] if named else []
    titles = _text("prediction", 12), _text("truth", 12).transpose(Image.Transpose.ROTATE_90)
    margin = titles[0].height + 3 * _GAP + max((label.width for label in labels), default=0)
    side = cell * count
    picture = Image.new("RGB", (margin + side + _GAP, side + margin + _GAP), "white")
    picture.paste(Image.fromarray(_blue(share).repeat(cell, 0).repeat(cell, 1)), (margin, _GAP))
    for place, label in enumerate(labels):
        middle = place * cell + cell // 2
        picture.paste(label, (margin - _GAP - label.width, _GAP + middle - label.height // 2))
        upright = label.transpose(Image.Transpose.ROTATE_90)
        picture.paste(upright, (margin + middle - upright.width // 2, side + 2 * _GAP))
    picture.paste(titles[0], (margin + (side - titles[0].width) // 2, picture.height - _GAP - titles[0].height))
    picture.paste(titles[1], (_GAP, _GAP + (side - titles[1].height) // 2))
    if cell >= _NUMBERED:
        draw, font = ImageDraw.Draw(picture), _font("0123456789", 10)
        for (row, column), value in np.ndenumerate(share):
            at = margin + column * cell + cell / 2, _GAP + row * cell + cell / 2
            draw.text(at, f"{100 * value:.0f}", "white" if value > 0.5 else "black", font, anchor="mm")
    return picture


def _blue(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours (C,C,3) of shares (C,C) within 0 and 1."""
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = colormaps["Blues"](share, bytes=True)[..., :3]
    return colours


def _text(text: str, size: int) -> Image.Image:
    """Return a line of text on white, `size` pixels high."""
    font = _font(text, size)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (max(1, int(right - left)), max(1, int(bottom - top))), "white")
    ImageDraw.Draw(image).text((-left, -top), text, "black", font)
    return image


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return an installed font that has the letters of a text, or most of the letters that matplotlib's own lacks."""
    from matplotlib import font_manager

    families, _ = fonts_for(text)
    return ImageFont.truetype(font_manager.findfont(families[min(1, len(families) - 1)]), size)
