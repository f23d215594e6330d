"""Search spaces: ranges of the values that an arm tunes, and candidates drawn as a grid, at random or quasi-random.

A candidate is a mapping of names to values, such as `{"lr": 1e-3, "ratio": 0.03}`. All functions are functions of their
arguments alone: the same call gives the same candidates on every machine.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Value = float | str
Values = Mapping[str, Value]
"""The values of a candidate, by the name of the dimension."""


@dataclass(frozen=True)
class LogRange:
    """Numbers from `low` to `high`, evenly on a logarithmic axis, as for a learning rate.

    Raises:
        ValueError: not 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"LogRange({self.low}, {self.high}): expected 0 < low < high; a value of 0 is a candidate of its own")

    def at(self, place: float) -> float:
        """Return the value at a place from 0 (low) to 1 (high).

        >>> LogRange(1e-4, 1e-2).at(0.5)
        0.001
        """
        low, high = math.log10(self.low), math.log10(self.high)
        return float(10 ** (low + (high - low) * place))

    def grid(self, count: int) -> list[Value]:
        """Return `count` values, 2 or more, from low to high."""
        return [self.low, *(self.at(place / (count - 1)) for place in range(1, count - 1)), self.high]


@dataclass(frozen=True)
class LinearRange:
    """Numbers from `low` to `high`, evenly on a linear axis, as for a momentum.

    Raises:
        ValueError: not low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"LinearRange({self.low}, {self.high}): expected low < high, both finite")

    def at(self, place: float) -> float:
        """Return the value at a place from 0 (low) to 1 (high).

        >>> LinearRange(0.5, 1.5).at(0.25)
        0.75
        """
        return float(self.low + (self.high - self.low) * place)

    def grid(self, count: int) -> list[Value]:
        """Return `count` values, 2 or more, from low to high."""
        return [self.low, *(self.at(place / (count - 1)) for place in range(1, count - 1)), self.high]


@dataclass(frozen=True)
class Choice:
    """One of some values: numbers in increasing order, or names.

    Raises:
        ValueError: there are fewer than two values, or two equal ones.
    """

    values: Sequence[Value]

    def __post_init__(self) -> None:
        if isinstance(self.values, str):
            raise ValueError(f"Choice({self.values!r}): is one text; expected a list of two or more values")
        object.__setattr__(self, "values", tuple(value.item() if isinstance(value, np.generic) else value for value in self.values))
        if strange := [value for value in self.values if not is_value(value)]:
            raise ValueError(f"Choice({list(self.values)}): {strange[0]!r} is neither a finite number nor a text, such as 'none'")
        if len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise ValueError(f"Choice({list(self.values)}): expected two or more values, each once")

    def at(self, place: float) -> Value:
        """Return the value at a place from 0 (the first) to 1 (the last); each value has an equal part.

        >>> Choice(("adam", "sgd")).at(0.7)
        'sgd'
        """
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def grid(self, count: int) -> list[Value]:
        """Return all values, whatever `count`."""
        return list(self.values)


Dimension = LogRange | LinearRange | Choice
Space = Mapping[str, Dimension]
"""The range of each dimension, by name."""


def grid_candidates(space: Space, count: int) -> list[Values]:
    """Return all combinations of `count` values of each range and of all values of each choice.

    >>> [candidate["lr"] for candidate in grid_candidates({"lr": LogRange(1e-4, 1e-2)}, 3)]
    [0.0001, 0.001, 0.01]

    Raises:
        ValueError: `count` is below 2.
    """
    if not _is_whole(count) or count < 2:
        raise ValueError(f"grid_candidates: {count!r} values of each range; expected 2 or more, as low and high are both among them")
    check_space(space)
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*(space[name].grid(count) for name in space))]


def random_candidates(space: Space, count: int, seed: int = 0) -> list[Values]:
    """Return `count` independent random candidates.

    See Bergstra & Bengio 2012, "Random search for hyper-parameter optimization".
    """
    _check_count("random_candidates", space, count)
    _check_seed("random_candidates", seed)
    return [_at(space, row) for row in np.random.default_rng(seed).random((count, len(space)))]


def halton_candidates(space: Space, count: int, seed: int | None = None) -> list[Values]:
    """Return `count` candidates that cover the space more evenly than random ones do (Halton 1960).

    The candidates begin at the second point of the sequence.

    With a seed, all points are shifted by the same random vector modulo 1 (Cranley & Patterson 1976): each seed gives
    other candidates, which cover the space as evenly.
    """
    from scipy.stats import qmc  # takes a second to import

    _check_count("halton_candidates", space, count)
    points = qmc.Halton(len(space), scramble=False).random(count + 1)[1:]  # the first point is the corner 0, 0, ...
    if seed is not None:
        _check_seed("halton_candidates", seed)
        points = (points + np.random.default_rng(seed).random(len(space))) % 1.0
    return [_at(space, row) for row in points]


def name_of(candidate: Values, digits: int = 3) -> str:
    """Return the name of a setting, such as `lr=1.00e-03,ratio=0`, with rounded numbers.

    >>> name_of({"lr": 0.001, "ratio": 0.0, "optimizer": "sgd"})
    'lr=1.00e-03,ratio=0,optimizer=sgd'
    """
    return ",".join(
        f"{name}={value if isinstance(value, str) else f'{value:.{digits - 1}e}' if value else '0'}" for name, value in candidate.items()
    )


def describe_space(space: Space) -> dict[str, Any]:
    """Return a space as plain data for `study.json`: the scale of each dimension, and its ends or values."""
    return {
        name: {"scale": "choice", "values": list(range_.values)}
        if isinstance(range_, Choice)
        else {"scale": "log" if isinstance(range_, LogRange) else "linear", "low": float(range_.low), "high": float(range_.high)}
        for name, range_ in space.items()
    }


def check_space(space: Space) -> None:
    """Raise a ValueError if the space has no dimension, or if a dimension is none of the ranges."""
    if not isinstance(space, Mapping):
        raise ValueError(
            f"the search space is a {type(space).__name__}: expected a range by the name of each value, as in {{'lr': LogRange(1e-4, 1e-2)}}"
        )
    if not space:
        raise ValueError("the search space is empty: expected a range for each tuned value, such as {'lr': LogRange(1e-4, 1e-2)}")
    for name, range_ in space.items():
        if not isinstance(range_, Dimension):
            raise ValueError(f"search space, {name!r}: is a {type(range_).__name__}; expected a LogRange, a LinearRange or a Choice")


def check_candidate(candidate: Values, space: Space) -> None:
    """Raise a ValueError unless a candidate has a finite number or a text for each dimension of the space."""
    if not isinstance(candidate, Mapping):
        raise ValueError(f"candidate {candidate!r}: is a {type(candidate).__name__}; expected values by name, as in {{'lr': 1e-3}}")
    if set(candidate) != set(space):
        raise ValueError(f"candidate {dict(candidate)}: has not the dimensions of the search space, {', '.join(space)}")
    for name, value in candidate.items():
        if not is_value(value):
            raise ValueError(
                f"candidate {dict(candidate)}: {name} is {value!r}; expected a finite number, or a text that the function which builds the module "
                "understands, such as 'none'"
            )


def is_value(value: object) -> bool:
    """Return whether a candidate may have a value: a finite number, or a text.

    >>> is_value(0.1), is_value("sgd"), is_value(float("inf")), is_value(None)
    (True, True, False, False)
    """
    return isinstance(value, str) or (isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value))


def _check_count(what: str, space: Space, count: int) -> None:
    check_space(space)
    if not _is_whole(count) or count < 1:
        raise ValueError(f"{what}: {count!r} candidates; expected a whole number, 1 or more")


def _check_seed(what: str, seed: int) -> None:
    """Raise a ValueError unless a seed gives the same candidates in every process."""
    if not _is_whole(seed) or seed < 0:
        raise ValueError(f"{what}: seed {seed!r}; expected a whole number, 0 or more, as each process draws the candidates again")


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _at(space: Space, row: Sequence[float]) -> Values:
    return {name: space[name].at(float(place)) for name, place in zip(space, row, strict=True)}
