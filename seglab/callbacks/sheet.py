"""Draw images with their truth, prediction and errors on one sheet, with the classes in a legend."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.nn import functional as F

from seglab.compare.images.boxes import KEY, Box, SheetBoxes, SheetRow
from seglab.metrics import confusion_matrices, scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
"""(H,W,3) colours"""

HEADINGS = ("image", "truth", "prediction", "errors")
DPI = 100
SIDE = 224
"""Largest number of rows and columns of a panel."""
MOST_CLASSES = 24
"""Largest number of classes in the legend."""
WRONG = (230, 0, 110)
"""Colour of wrongly predicted pixels, on a grey image."""

_GAP, _LINE, _MARGIN = 6, 20, 8  # pixels: between panels, of a line of text, around the sheet
_NARROWEST = 120  # pixels of a column of panels, so that texts have room
_LETTER = 7  # pixels of most letters, and more than the mean letter
_LETTERS = 24  # of a class name in the legend


class PredictedImage(NamedTuple):
    """An image and its masks, each at its own size."""

    name: str
    image: Pixels
    """(H,W,3)"""
    truth: NDArray[np.int64]
    """(H',W')"""
    prediction: NDArray[np.int64]
    """(H',W')"""


class Classes(NamedTuple):
    """Names and colours of the classes, and the label that is not counted."""

    names: Sequence[str]
    palette: Pixels
    """(C,3)"""
    ignore_index: int


class Strip(NamedTuple):
    """A part of the sheet from its left to its right edge."""

    pixels: Pixels
    texts: list[tuple[float, float, str, str]]
    """Each text with its x, the y of its middle, both in pixels of the strip, and its alignment."""


class Sheet(NamedTuple):
    """A sheet without its texts."""

    pixels: Pixels
    texts: list[tuple[float, float, str, str]]
    """Each text with its x, the y of its middle, both in pixels of the sheet, and its alignment."""
    boxes: SheetBoxes
    """Places of the panels."""


def draw(pictures: Sequence[PredictedImage], classes: Classes) -> "Figure":
    """Return the sheet: one row for each picture, with its name and mIoU above, and the legend below."""
    sheet = _sheet(pictures, classes)
    figure = _with_texts(sheet)
    figure.figimage(sheet.pixels)
    return figure


def write(pictures: Sequence[PredictedImage], classes: Classes, file: IO[bytes]) -> None:
    """Write the sheet as PNG. Its text `seglab` says where the panels are, see `SheetBoxes`.

    The panels are not drawn by matplotlib, which resamples each image: this took a third of a short run. It draws the
    texts, which stand on white, so that the product of both pictures is the sheet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sheet = _sheet(pictures, classes)
    canvas: Any = FigureCanvasAgg(_with_texts(sheet))
    canvas.draw()
    texts = np.asarray(canvas.buffer_rgba())[..., :3]
    about = PngInfo()
    about.add_text(KEY, sheet.boxes.to_text())
    pixels = (sheet.pixels.astype(np.uint16) * texts // 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, format="png", dpi=(DPI, DPI), pnginfo=about)


def _sheet(pictures: Sequence[PredictedImage], classes: Classes) -> Sheet:
    rows = [panels(picture, classes) for picture in pictures]
    cell = max(_NARROWEST, *(row[0].shape[1] for row in rows))
    ious = [iou_of(picture, classes.ignore_index) for picture in pictures]
    named = zip(rows, [picture.name for picture in pictures], ious, strict=True)
    strips = [_headings(cell), *(_row(row, cell, name, iou) for row, name, iou in named), _keys(legend(pictures, classes), cell)]
    pixels = np.concatenate([strip.pixels for strip in strips])
    height, width, _ = pixels.shape
    tops = list(accumulate((len(strip.pixels) for strip in strips), initial=0))
    texts = [(x, top + y, text, side) for strip, top in zip(strips, tops[:-1], strict=True) for x, y, text, side in strip.texts]
    placed = [
        SheetRow(picture.name, *_boxes(row[0], cell, top + _LINE)) for picture, row, top in zip(pictures, rows, tops[1:-2], strict=True)
    ]
    return Sheet(pixels, texts, SheetBoxes(tuple(placed), (0, tops[-2], width, height)))


def _with_texts(sheet: Sheet) -> "Figure":
    """Return a white figure of the size of a sheet, with its texts."""
    from matplotlib.figure import Figure

    height, width, _ = sheet.pixels.shape
    figure = Figure(figsize=(_inches(width), _inches(height)), dpi=DPI)
    fonts, _ = fonts_for("".join(text for *_, text, _ in sheet.texts))
    for x, y, text, side in sheet.texts:
        figure.text(x / width, 1 - y / height, text, ha=side, va="center_baseline", fontsize=8, family=fonts, parse_math=False)
    return figure


def _inches(pixels: int) -> float:
    """Return a length that matplotlib, which rounds down, takes for this number of pixels."""
    inches = pixels / DPI
    return inches if int(inches * DPI) == pixels else math.nextafter(inches, math.inf)


def _boxes(panel: Pixels, cell: int, top: int) -> list[Box]:
    """Return the boxes of the panels of a row, which all have the size of `panel`."""
    height, width, _ = panel.shape
    lefts = [_left(column, cell, width) for column in range(len(HEADINGS))]
    return [(left, top, left + width, top + height) for left in lefts]


def _left(column: int, cell: int, width: int) -> int:
    """Return where a panel of `width` pixels begins, which is in the middle of its column."""
    return _MARGIN + column * (cell + _GAP) + (cell - width) // 2


def _blank(height: int, cell: int) -> Pixels:
    return np.full((height, 2 * _MARGIN + len(HEADINGS) * (cell + _GAP) - _GAP, 3), 255, np.uint8)


def _headings(cell: int) -> Strip:
    middles = [_MARGIN + column * (cell + _GAP) + cell / 2 for column in range(len(HEADINGS))]
    return Strip(
        _blank(_LINE + _MARGIN, cell), [(x, _MARGIN + _LINE / 2, text, "center") for x, text in zip(middles, HEADINGS, strict=True)]
    )


def _row(shown: Sequence[Pixels], cell: int, name: str, iou: str) -> Strip:
    height, width, _ = shown[0].shape
    pixels = _blank(_LINE + height + _GAP, cell)
    for column, panel in enumerate(shown):
        left = _left(column, cell, width)
        pixels[_LINE : _LINE + height, left : left + width] = panel
    right = pixels.shape[1] - _MARGIN
    return Strip(pixels, [(_MARGIN, _LINE / 2, _last(name, right // _LETTER - len(iou) - 2), "left"), (right, _LINE / 2, iou, "right")])


def _keys(entries: Sequence[tuple[str, Pixels | tuple[int, int, int]]], cell: int) -> Strip:
    swatch = 26  # pixels, with the space beside it
    room = _blank(0, cell).shape[1] - 2 * _MARGIN
    columns = max(1, room // (swatch + _LETTER * (1 + max(len(name) for name, _ in entries))))
    pixels = _blank(_GAP + _LINE * math.ceil(len(entries) / columns) + _MARGIN, cell)
    texts = []
    for number, (name, colour) in enumerate(entries):
        left, middle = _MARGIN + number % columns * (room // columns), _GAP + number // columns * _LINE + _LINE // 2
        pixels[middle - 7 : middle + 7, left : left + 18] = 120  # a frame, for colours that are nearly white
        pixels[middle - 6 : middle + 6, left + 1 : left + 17] = colour
        texts.append((float(left + swatch), float(middle), name, "left"))
    return Strip(pixels, texts)


def panels(picture: PredictedImage, classes: Classes) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Return image, truth, prediction and errors at one size, with the proportions of the masks.

    Pixels that are not counted are hatched. Small pictures are enlarged by a whole number, so that each pixel stays a
    square.
    """
    rows, columns = picture.truth.shape
    scale = SIDE / max(rows, columns)
    scale = math.floor(scale) if scale >= 1 else scale
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    truth, prediction = nearest(picture.truth, size), nearest(picture.prediction, size)
    image = _fitted(picture.image, size)
    ignored = (truth == classes.ignore_index)[..., None]
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes.palette)] = classes.palette
    grey = np.broadcast_to(image.mean(axis=-1, keepdims=True), image.shape).astype(np.uint8)
    errors = np.where((truth != prediction)[..., None], np.array(WRONG, np.uint8), grey)
    crossed = hatch(size)
    truth_shown, prediction_shown, errors_shown = (
        np.where(ignored, crossed, shown) for shown in (colours[truth % 256], colours[prediction % 256], errors)
    )
    return image, truth_shown, prediction_shown, errors_shown


def hatch(size: tuple[int, int]) -> Pixels:
    """Return grey diagonal stripes (H,W,3): pixels that are not counted."""
    rows, columns = np.indices(size)
    return np.where(((rows + columns) % 8 < 2)[..., None], np.uint8(130), np.full((*size, 3), 215, np.uint8))


def nearest(mask: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Resize a mask (H,W) to `size`; each pixel has the label at its centre."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def iou_of(picture: PredictedImage, ignore_index: int) -> str:
    """Return the mIoU of one picture as text, over the classes in its truth or prediction."""
    counted = picture.truth != ignore_index
    if not counted.any():
        return "no pixel is counted"
    labels, both = np.unique(np.stack([picture.prediction[counted], picture.truth[counted]]), return_inverse=True)
    prediction, truth = torch.from_numpy(both.reshape(2, 1, 1, -1))
    miou = scores(confusion_matrices(prediction, truth, max(2, len(labels)))).mean["miou"]
    return f"mIoU of this image {100 * float(miou):.1f} %"


def legend(pictures: Sequence[PredictedImage], classes: Classes) -> list[tuple[str, Pixels | tuple[int, int, int]]]:
    """Return names and colours: the classes in the pictures, from frequent to rare, then wrong and ignored pixels."""
    pixels: NDArray[np.int64] = np.zeros(len(classes.names), np.int64)
    ignored = False
    for picture in pictures:
        counted = picture.truth != classes.ignore_index
        ignored |= not counted.all()
        for mask in (picture.truth, picture.prediction):
            pixels += np.bincount(mask[counted], minlength=len(pixels))[: len(pixels)]
    names = readable(classes.names)
    order = [label for label in np.argsort(-pixels, kind="stable").tolist() if pixels[label]]
    shown: list[tuple[str, Pixels | tuple[int, int, int]]] = [
        (_first(names[label], _LETTERS), classes.palette[label]) for label in order[:MOST_CLASSES]
    ]
    if len(order) > MOST_CLASSES:
        shown.append((f"and {len(order) - MOST_CLASSES} more classes", (255, 255, 255)))
    shown.append(("wrong", WRONG))
    return [*shown, ("not counted", hatch((12, 16)))] if ignored else shown


def readable(names: Sequence[str]) -> list[str]:
    """Return the names of the classes, with `class <label>` for each name that no installed font can write."""
    _, missing = fonts_for("".join(names))
    return [f"class {label}" if missing & set(name) else name for label, name in enumerate(names)]


def fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Return families of installed fonts that together have the letters of `text`, and the letters that no font has."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    families = ["DejaVu Sans"]  # comes with matplotlib
    missing = {ord(letter) for letter in text} - FT2Font(font_manager.findfont(families[0])).get_charmap().keys()
    for font in font_manager.fontManager.ttflist if missing else ():
        if font.weight != 400 or font.style != "normal" or font.name.startswith("Last Resort"):  # that one has a box for every letter
            continue
        if found := missing & FT2Font(font.fname).get_charmap().keys():
            families.append(font.name)
            missing -= found
    return families, set(map(chr, missing))


def _fitted(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize an image: enlarged, its pixels stay squares; reduced, they are averaged."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    if size[0] < image.shape[0] or size[1] < image.shape[1]:
        resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    else:
        resized = F.interpolate(pixels, size, mode="nearest-exact")
    return np.asarray(resized[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())


def _first(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _last(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"…{text[1 - letters :]}"
