"""The phases of a training: intervals of steps in which the same stages train."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from seglab.freezing.schedule import FreezeSchedule
from seglab.given import is_factor
from seglab.stage import Progress, Stage

LOOKS = 2000
"""Approximate number of steps at which a schedule is evaluated to find its phases. A change between two of them is
located exactly.
"""

Scales = Mapping[str, float]


@dataclass(frozen=True)
class Phase:
    """The steps from `first` to `last`, in which the same stages train."""

    first: Progress
    last: Progress
    start: Scales
    """Factor of each stage on the learning rate at the first step, by stage name. 0 means frozen."""
    end: Scales
    """Factor of each stage on the learning rate at the last step, by stage name."""

    @property
    def trains(self) -> list[str]:
        """Return the names of the stages that train."""
        return [name for name, factor in self.start.items() if factor > 0]


def scales(schedule: FreezeSchedule | None, stages: Iterable[Stage], progress: Progress) -> dict[str, float]:
    """Return the factor of each stage on the learning rate, by stage name. Without a schedule each factor is 1.

    Raises:
        ValueError: if a factor is negative or not finite, or if no stage trains.
    """
    if schedule is None:
        return {stage.name: 1.0 for stage in stages}
    found = {stage.name: schedule.lr_scale(stage, progress) for stage in stages}
    for name, factor in found.items():
        if not is_factor(factor):
            raise ValueError(f"{schedule!r} gives {name} the factor {factor} at step {progress.step}; expected a finite number, 0 or more")
    if not any(found.values()):
        raise ValueError(
            f"{schedule!r} trains no stage at step {progress.step} (epoch {progress.epoch}); there are {', '.join(found)}, and one must train"
        )
    return found


def phases_of(schedule: FreezeSchedule | None, stages: Sequence[Stage], start: Progress) -> list[Phase]:
    """Return the phases of a whole training, in order. `start` is the progress before its first step.

    Raises:
        ValueError: if `FreezeSchedule.check` or `scales` raises one.
    """
    if schedule is not None:
        schedule.check(stages, start)

    def at(step: int) -> dict[str, float]:
        return scales(schedule, stages, start.at(step))

    firsts = [0, *_changes(at, start.steps)]
    lasts = [first - 1 for first in firsts[1:]] + [start.steps - 1]
    return [Phase(start.at(a), start.at(b), at(a), at(b)) for a, b in zip(firsts, lasts, strict=True)]


def phase_table(phases: Sequence[Phase], parameters: Mapping[str, int]) -> list[dict[str, str]]:
    """Return a row of text for each phase: epochs, steps, trained stages, their parameters, learning-rate factors.

    Args:
        phases: as `phases_of` returns them.
        parameters: number of parameters of each stage, by stage name.
    """
    return [
        {
            "epochs": f"{_epoch(phase.first.step, phase.first)} to {_epoch(phase.last.step + 1, phase.first)}",
            "steps": f"{phase.first.step} to {phase.last.step}",
            "trains": ", ".join(_short(phase.trains)),
            "parameters": _share(sum(parameters[name] for name in phase.trains), sum(parameters.values())),
            "lr factor": _factors(phase),
        }
        for phase in phases
    ]


def _changes(at: Callable[[int], Scales], steps: int) -> list[int]:
    """Return the steps at which the set of stages that train changes."""
    looks = sorted({0, steps - 1, *range(0, steps, max(1, steps // LOOKS))})
    sets = [_set(at(step)) for step in looks]
    return [_first(at, *ends) for ends, (before, after) in zip(pairwise(looks), pairwise(sets), strict=True) if before != after]


def _first(at: Callable[[int], Scales], low: int, high: int) -> int:
    """Return the first step after `low` at which other stages train than at `low`, by bisection up to `high`."""
    before = _set(at(low))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _set(at(middle)) == before else (low, middle)
    return high


def _set(factors: Scales) -> frozenset[str]:
    return frozenset(name for name, factor in factors.items() if factor > 0)


def _epoch(step: int, progress: Progress) -> str:
    return f"{step / progress.steps_per_epoch:.4g}"


def _share(some: int, whole: int) -> str:
    return f"{some:,} ({100 * some / max(1, whole):.0f} %)"


def _short(names: Sequence[str]) -> list[str]:
    """Abbreviate successive encoder stages: `encoder.2, encoder.3, encoder.4` becomes `encoder.2-4`."""
    numbered = [name for name in names if name.startswith("encoder.")]
    places = [int(name.partition(".")[2]) for name in numbered]
    if len(places) < 2 or places != list(range(places[0], places[-1] + 1)):
        return list(names)
    return [f"encoder.{places[0]}-{places[-1]}", *(name for name in names if name not in numbered)]


def _factors(phase: Phase) -> str:
    """Describe the factors of the stages that train, with equal factors grouped: `encoder.0-4: 0.1; decoder, head: 1`.

    If all factors are equal, return this factor alone. A factor that changes within the phase reads `0.1 → 1`.
    """
    alike: dict[str, list[str]] = {}
    for name in phase.trains:
        start, end = (f"{factors[name]:.2g}" for factors in (phase.start, phase.end))
        alike.setdefault(start if start == end else f"{start} → {end}", []).append(name)
    if len(alike) == 1:
        return next(iter(alike))
    return "; ".join(f"{', '.join(_short(names))}: {factor}" for factor, names in alike.items())
