"""Outcomes of checks."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["✓", "✗", "–"]


@dataclass(frozen=True)
class Outcome:
    """A mark (✓ right, ✗ wrong, – no verdict), and what was measured in words for people."""

    mark: Mark
    measured: str

    @property
    def failed(self) -> bool:
        return self.mark == "✗"


def verdict(right: bool, measured: str) -> Outcome:
    """Return an outcome with ✓ if `right`, otherwise ✗. A comparison with NaN is False, and so gives ✗."""
    return Outcome("✓" if right else "✗", measured)


def told(measured: str) -> Outcome:
    """Return an outcome without a verdict (–)."""
    return Outcome("–", measured)


def raised(error: Exception) -> Outcome:
    """Return an outcome with ✗, and the first line of an exception and its notes."""
    return Outcome("✗", f"raises {first_line(error)}")


def first_line(error: Exception) -> str:
    """Return the type, first line and notes of an exception, as `IndexError: Target 255 is out of bounds. (note)`."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}{notes}"
