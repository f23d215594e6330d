"""Arms of a study: the factory of an arm, the candidate settings of a tuned arm, and the chosen setting."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from torch import nn

from seglab.module import SegmentationModule
from seglab.records import SETTING, check_name
from seglab.study.proposals import Search
from seglab.study.space import Space, Values, check_candidate, check_space, halton_candidates, name_of
from seglab.suggestions import did_you_mean

Arm = Callable[[], SegmentationModule]
"""Builds an arm's module. A factory, because nothing may be built before the seed is set."""

Build = Callable[[Values], SegmentationModule]
"""Builds the module of a candidate."""


@dataclass(frozen=True)
class SequentialSearch:
    """A search that proposes settings, and the candidates that it has proposed so far."""

    search: Search
    build: Build
    tried: tuple[Values, ...]


@dataclass(frozen=True)
class Tuned:
    """A tuned arm: candidate settings of one method by name.

    The study trains the best setting on `val` under its seeds.

    If one arm of a study is tuned, all arms are, each with the same number of settings. A baseline without a penalty
    tunes its learning rate:

        Study(..., arms={
            "none": Tuned({f"lr={lr:g}": arm(None, lr) for lr in (1e-4, 1e-3, 1e-2)}),
            "l2": Tuned({f"strength={s:g}": arm(L2(s), 1e-3) for s in (1e-5, 1e-4, 1e-3)}),
        })
    """

    settings: Mapping[str, Arm]
    space: Space = field(default_factory=dict)
    """The ranges that the settings were drawn from, which the report shows. They change no run. Empty if they are not
    known.
    """
    search: "SequentialSearch | None" = None
    """Proposes more settings when those that are there have been tried; None if `settings` are all."""
    finalists: tuple[str, ...] = ()
    """Settings that compete in the final round of the tuning. seglab fills this field in when the results say which
    settings these are.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.settings, Mapping):
            raise ValueError(
                f"Tuned: is given a {type(self.settings).__name__}; expected functions by name, as in Tuned({{'lr=1e-3': ..., 'lr=1e-4': ...}})"
            )
        if not self.settings:
            raise ValueError("Tuned: there are no settings; give one or more, as in Tuned({'lr=1e-3': ..., 'lr=1e-4': ...})")
        for setting, factory in self.settings.items():
            check_name("setting", setting)
            check_factory(f"setting {setting}", factory)
            if SETTING in setting:
                raise ValueError(f"setting {setting!r}: {SETTING} stands between arm and setting; write = or - instead")
        if self.space:
            check_space(self.space)

    @classmethod
    def over(cls, space: Space, candidates: Sequence[Values], build: Build) -> Self:
        """Return an arm that tries each candidate.

            space = {"lr": LogRange(1e-4, 1e-2)} Tuned.over(space, halton_candidates(space, 8), lambda values:
            SegmentationModule(..., optimizer=AdamW(values["lr"])))

        Args:
            space: the ranges. A candidate may have a value outside of them, such as a strength of 0.
            candidates: the values of each candidate, as `grid_candidates`, `random_candidates` and `halton_candidates`
                return them.
            build: builds the module of a candidate.

        Raises:
            ValueError: two candidates have the same name, or a candidate has other dimensions than the space.
        """
        check_space(space)
        return cls(_settings(space, candidates, build), space)

    @classmethod
    def sequential(cls, space: Space, trials: int, build: Build, *, rounds: int = 3, seed: int = 0) -> Self:
        """Return an arm whose settings are proposed in rounds by a tree-structured Parzen estimator (Bergstra et al.
        2011), with Optuna.

        The first round is `halton_candidates`. Each later round is proposed when all runs of the earlier rounds have
        ended, and is a function of the seed and of their scores. It is recorded before its first run starts.

        Args:
            space: the ranges.
            trials: number of settings in all rounds: the tuning budget.
            build: builds the module of a candidate.
            rounds: number of rounds, which have equal numbers of settings as far as possible.
            seed: seed of the proposals, the same for every arm.

        Raises:
            ValueError: Optuna is not installed, or there are fewer trials than rounds.
        """
        search = Search(space, trials, rounds, seed)
        first = halton_candidates(space, search.sizes[0])
        return cls(_settings(space, first, build), space, SequentialSearch(search, build, tuple(first)))

    @property
    def budget(self) -> int:
        """Number of settings that are tried in all."""
        return len(self.settings) if self.search is None else self.search.search.trials

    def extended(self, candidates: Sequence[Values]) -> Self:
        """Return the arm of a sequential search with more settings; raise a ValueError if it has no search."""
        if self.search is None:
            raise ValueError("only an arm of Tuned.sequential takes more settings")
        tried = (*self.search.tried, *candidates)
        return dataclasses.replace(
            self, settings=_settings(self.space, tried, self.search.build), search=dataclasses.replace(self.search, tried=tried)
        )

    def check_setting(self, setting: str) -> None:
        """Raise a ValueError if the arm has no setting of this name. The message suggests the closest name."""
        if setting not in self.settings:
            raise ValueError(
                f"unknown setting {setting!r}{did_you_mean(setting, self.settings)}; the settings are {', '.join(self.settings)}"
            )


@dataclass(frozen=True)
class Chosen:
    """A tuned arm and its chosen setting."""

    tuned: Tuned
    setting: str

    def __call__(self) -> SegmentationModule:
        return self.tuned.settings[self.setting]()


@dataclass(frozen=True)
class Proposed:
    """A setting that a sequential search has proposed.

    `study.json` records its values, so that every process tries the same setting.
    """

    tuned: Tuned
    setting: str
    values: Values

    def __call__(self) -> SegmentationModule:
        return self.tuned.settings[self.setting]()


def tuning_arms(arm: str, tuned: Tuned) -> dict[str, Arm]:
    """Return the factories of an arm's tuning runs, by the names of the tuning arms."""
    if tuned.search is None:
        return {tuning_arm(arm, setting): factory for setting, factory in tuned.settings.items()}
    pairs = zip(tuned.settings, tuned.search.tried, strict=True)
    return {tuning_arm(arm, setting): Proposed(tuned, setting, values) for setting, values in pairs}


def tuning_arm(arm: str, setting: str) -> str:
    """Return the name of the tuning runs of an arm with one setting, such as `l1@lr=1e-3`."""
    return f"{arm}{SETTING}{setting}"


def arm_and_setting(name: str) -> tuple[str, str]:
    """Split the name of a tuning arm into arm and setting: `l1@lr=1e-3` → `l1`, `lr=1e-3`."""
    arm, _, setting = name.rpartition(SETTING)
    return arm, setting


def check_fair(arms: Iterable[str], tuned: Mapping[str, Tuned]) -> None:
    """Raise a ValueError unless all arms are tuned, each with the same number of settings."""
    counts = {arm: this.budget for arm, this in tuned.items()}
    if plain := [arm for arm in arms if arm not in tuned]:
        raise ValueError(
            f"{', '.join(plain)}: not tuned beside tuned arms, which is no fair comparison; wrap it: Tuned({{'name': ...}}) "
            f"with {max(counts.values())} settings (an arm without a penalty can tune its learning rate)"
        )
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        raise ValueError(f"an equal tuning budget is the same number of settings for every arm; here are: {listed}")
    for arm, this in tuned.items():
        for setting in this.settings:
            check_name("arm and setting", tuning_arm(arm, setting))


def check_factory(what: str, factory: object) -> None:
    """Raise a ValueError unless `factory` is a function, or already `Tuned` or `Chosen`.

    A module is no function, though Python can call it.
    """
    if isinstance(factory, nn.Module) or not (callable(factory) or isinstance(factory, Tuned)):
        raise ValueError(
            f"{what}: is a {type(factory).__name__}; expected a function without arguments that builds a SegmentationModule, as in "
            "lambda: SegmentationModule(...), because nothing may be built before its seed is set"
        )
    if needed := _needed(factory):
        raise ValueError(
            f"{what}: its function has arguments without a default, {', '.join(needed)}, and is called without arguments: bind them, as in "
            f"functools.partial(build, {needed[0]}=...)"
        )


def _needed(factory: object) -> list[str]:
    """Return the names of the arguments that a function cannot be called without; none if Python does not tell them."""
    try:
        parameters = inspect.signature(factory).parameters.values() if callable(factory) else ()
    except (ValueError, TypeError):
        return []
    without = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return [parameter.name for parameter in without if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)]


def _settings(space: Space, candidates: Sequence[Values], build: Build) -> dict[str, Arm]:
    """Return a factory for each candidate, by the candidate's name.

    Numbers in a name have three digits, or more if an earlier candidate has that name.
    """
    found: dict[str, Arm] = {}
    seen: list[Values] = []
    for candidate in candidates:
        check_candidate(candidate, space)
        if candidate in seen:
            raise ValueError(
                f"candidate {dict(candidate)}: is there twice, and each setting is tried once: leave one out; a space of choices may have fewer "
                "different candidates than were asked for"
            )
        seen.append(candidate)
        name = next((name for digits in range(3, 18) if (name := name_of(candidate, digits)) not in found), None)
        if name is None:
            raise ValueError(
                f"two candidates are {name_of(candidate)}: one has a number and the other the same number as text; leave one out"
            )
        found[name] = partial(build, dict(candidate))
    return found
