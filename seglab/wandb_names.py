"""Names and ids within the limits of Weights & Biases. No torch."""

import hashlib
import re

LETTERS = 128
"""Largest number of letters of a name or a group."""

ID_LETTERS = 103
"""Largest number of letters of an id. W&B names a table `run-<id>-testconfusion-123456`, in at most `LETTERS`."""


def id_of(text: str) -> str:
    """Return a text as an id that W&B takes.

    >>> id_of("lr=0.1,l2+l1-report")
    'lr_0.1_l2_l1-report'
    """
    return shortened(re.sub("[+@=,]", "_", text), ID_LETTERS)


def shortened(text: str, letters: int = LETTERS) -> str:
    """Return a text with at most `letters` letters. A longer one ends with its hash, so that no two become equal."""
    return text if len(text) <= letters else f"{text[: letters - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
