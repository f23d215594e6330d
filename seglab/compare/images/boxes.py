"""Places of the panels on the sheet `predictions.png`. The sheet holds this as a text of the PNG file."""

import json
from dataclasses import asdict, dataclass

import msgspec

KEY = "seglab"
"""Name of the text in the PNG file."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels of the sheet."""


@dataclass(frozen=True)
class SheetRow:
    """Panels of one image."""

    name: str
    """Name of the image, as in `confusion.npz`."""
    image: Box
    truth: Box
    prediction: Box
    errors: Box


@dataclass(frozen=True)
class SheetBoxes:
    """Panels of a sheet, and its legend."""

    rows: tuple[SheetRow, ...]
    legend: Box

    def to_text(self) -> str:
        """Return the boxes as JSON in ASCII, which every PNG reader keeps."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "SheetBoxes":
        """Return the boxes of `to_text`.

        Raises:
            ValueError: it is another text.
        """
        return msgspec.json.decode(text.encode(), type=cls)
