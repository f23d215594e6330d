"""The arms of a factorial study: every combination of a level of one factor with a level of another."""

from collections.abc import Sequence

from seglab.records import CROSSING, check_name, levels_of


def check_factors(factors: Sequence[str], arms: Sequence[str]) -> None:
    """Raise a ValueError unless `arms` name the full grid of two factors' levels: `none+full`, `l2+full`, ..."""
    if isinstance(factors, str) or len(factors) != 2:
        given = repr(factors) if isinstance(factors, str) else list(factors)
        raise ValueError(
            f"factors {given}: a study crosses exactly two factors (more are not supported), as in factors=('penalty', 'schedule')"
        )
    for factor in factors:
        check_name("factor", factor)
    if factors[0] == factors[1]:
        raise ValueError(f"factors {list(factors)}: they have the same name; give two different ones")
    for arm in arms:
        _check_arm(arm, factors)
    _check_grid(factors, arms)


def _check_arm(arm: str, factors: Sequence[str]) -> None:
    levels = levels_of(arm)
    if len(levels) != len(factors) or "" in levels:
        raise ValueError(
            f"arm {arm!r}: splits at {CROSSING} into {', '.join(map(repr, levels))}, not into one level of each factor; "
            f"name the arms <{factors[0]}>{CROSSING}<{factors[1]}>, with no {CROSSING} inside a level"
        )


def _check_grid(factors: Sequence[str], arms: Sequence[str]) -> None:
    first, second = (list(dict.fromkeys(levels_of(arm)[place] for arm in arms)) for place in range(2))
    for factor, levels in zip(factors, (first, second), strict=True):
        if len(levels) == 1:
            raise ValueError(
                f"factor {factor!r} has the single level {levels[0]!r}: give it another, or make the study one without factors"
            )
    if missing := [name for a in first for b in second if (name := f"{a}{CROSSING}{b}") not in arms]:
        raise ValueError(
            f"factors {' × '.join(factors)}: every level of one is crossed with every level of the other, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not among the arms; add {'it' if len(missing) == 1 else 'them'}"
        )
