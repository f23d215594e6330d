"""Print numbers: percent and points, significant digits, p values."""

import math
from dataclasses import dataclass

UNDEFINED = "–"
"""Text that is printed for NaN."""


def number(value: float, digits: int | None) -> str:
    """Return a number as text, with a true minus sign.

    Args:
        value: NaN becomes an en dash.
        digits: number of decimals; None prints four significant digits.

    >>> number(-1.234, 2), number(1234.5, None)
    ('−1.23', '1234')
    """
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"
    return f"−{text[1:]}" if text.startswith("-") and float(text) != 0 else text.removeprefix("-")


def signed(value: float, digits: int | None) -> str:
    """Return a number as `number` does, with a plus sign if it is printed as greater than 0."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(text) != 0 else text


def p_value(p: float) -> str:
    """Return p with three decimals; `<.001` for smaller values, a dash for NaN."""
    return UNDEFINED if math.isnan(p) else "<.001" if p < 0.001 else f"{p:.3f}"


def equals(p: float) -> str:
    """Return p for a sentence, such as `p = 0.016`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _decimals(mean: float, sd: float) -> int | None:
    """Return the decimals that show two significant digits of `sd`, and at most nine of the mean.

    Return None if `sd` is 0, infinite or NaN, or if the mean is NaN.

    -1 stands for tens.
    """
    if not 0 < sd < math.inf or math.isnan(mean):
        return None
    of_sd, of_mean = (int(f"{value:.1e}".partition("e")[2]) for value in (sd, mean))
    return min(1 - of_sd, 8 - of_mean) if mean else 1 - of_sd


@dataclass(frozen=True)
class Unit:
    """Format of a metric's printed values. All methods take raw values, before multiplication with `factor`."""

    factor: float = 1.0
    """Printed values are raw values times this factor."""
    level: str = ""
    """Unit of a value, such as `%`."""
    step: str = ""
    """Unit of a difference of two values, such as `points`."""
    digits: int | None = None
    """Number of decimals; None prints four significant digits."""

    def value(self, value: float) -> str:
        """Return a value without its unit, such as `63.21`."""
        return number(value * self.factor, self.digits)

    def mean_and_sd(self, mean: float, sd: float) -> str:
        """Return a mean and a standard deviation, such as `63.21 ±0.45`; the mean alone if `sd` is NaN.

        The standard deviation has two significant digits, and the mean ends at the same decimal.

        >>> PERCENT.mean_and_sd(0.26012, 0.01503), SECONDS.mean_and_sd(1234.5, 321.0), PERCENT.mean_and_sd(0.5, 0.0)
        ('26.0 ±1.5', '1230 ±320', '50.00 ±0.00')
        """
        if math.isnan(sd):
            return self.value(mean)
        digits = _decimals(mean * self.factor, sd * self.factor)
        if digits is None:
            return f"{self.value(mean)} ±{self.value(sd)}"
        return " ±".join(number(round(value * self.factor, digits), max(digits, 0)) for value in (mean, sd))

    def difference(self, difference: float) -> str:
        """Return a difference with its sign, such as `+1.20`."""
        return signed(difference * self.factor, self.digits)

    def change(self, difference: float) -> str:
        """Return a difference with its sign and unit, such as `+1.20 points`."""
        return f"{self.difference(difference)} {self.step}".rstrip()

    def amount(self, difference: float) -> str:
        """Return the size of a difference with its unit, such as `1.20 points`."""
        return f"{self.value(abs(difference))} {self.step}".rstrip()

    def within(self, margin: float) -> str:
        """Return a margin with its unit, such as `±0.5 points`."""
        return f"±{margin * self.factor:g} {self.step}".rstrip()

    def span(self, low: float, high: float) -> str:
        """Return an interval of differences for a sentence, such as `−1.61 to −0.79`."""
        return f"{self.difference(low)} to {self.difference(high)}"

    def interval(self, low: float, high: float) -> str:
        """Return an interval of differences for a table, such as `[−1.61, −0.79]`; nothing if NaN or unbounded."""
        return f"[{self.difference(low)}, {self.difference(high)}]" if math.isfinite(low) else ""


PERCENT = Unit(100.0, "%", "points", 2)
PLAIN = Unit()
SECONDS = Unit(level="s", step="s")
MEBIBYTES = Unit(level="MiB", step="MiB")
