"""What a check finds."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["✓", "✗", "–"]


@dataclass(frozen=True)
class Outcome:
    """A mark (✓ right, ✗ wrong, – no verdict) and what was measured, in words for people."""

    mark: Mark
    measured: str

    @property
    def failed(self) -> bool:
        return self.mark == "✗"


def verdict(right: bool, measured: str) -> Outcome:
    """✓ or ✗; a comparison with NaN is wrong."""
    return Outcome("✓" if right else "✗", measured)


def told(measured: str) -> Outcome:
    """Without a verdict."""
    return Outcome("–", measured)


def raised(error: Exception) -> Outcome:
    """✗, with the first line of an exception and its notes."""
    return Outcome("✗", f"raises {first_line(error)}")


def first_line(error: Exception) -> str:
    """`IndexError: Target 255 is out of bounds.`, and the notes it was given."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}{notes}"
