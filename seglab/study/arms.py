"""Arms of a study: the factory of an arm, the candidate settings of a tuned arm, and the chosen setting."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from seglab.module import SegmentationModule
from seglab.records import check_name

Arm = Callable[[], SegmentationModule]
"""Builds an arm's module. A factory, because nothing may be built before the seed is set."""

_SEPARATOR = "@"


@dataclass(frozen=True)
class Tuned:
    """A tuned arm: candidate settings of one method by name. The study trains the best setting on `val` under its seeds.

    If one arm of a study is tuned, all arms are, each with the same number of settings. A baseline without a penalty tunes its learning
    rate:

        Study(..., arms={
            "none": Tuned({f"lr={lr:g}": arm(None, lr) for lr in (1e-4, 1e-3, 1e-2)}),
            "l2": Tuned({f"strength={s:g}": arm(L2(s), 1e-3) for s in (1e-5, 1e-4, 1e-3)}),
        })
    """

    settings: Mapping[str, Arm]

    def __post_init__(self) -> None:
        if not self.settings:
            raise ValueError("Tuned: there are no settings; give one or more, as in Tuned({'lr=1e-3': ..., 'lr=1e-4': ...})")
        for setting, factory in self.settings.items():
            check_name("setting", setting)
            check_factory(f"setting {setting}", factory)
            if _SEPARATOR in setting:
                raise ValueError(f"setting {setting!r}: {_SEPARATOR} stands between arm and setting; write = or - instead")

    def check_setting(self, setting: str) -> None:
        """Raise a ValueError if the arm has no setting of this name. The message suggests the closest name."""
        if setting not in self.settings:
            raise ValueError(f"unknown setting {setting!r}{meant(setting, self.settings)}; the settings are {', '.join(self.settings)}")


@dataclass(frozen=True)
class Chosen:
    """A tuned arm and its chosen setting."""

    tuned: Tuned
    setting: str

    def __call__(self) -> SegmentationModule:
        return self.tuned.settings[self.setting]()


def tuning_arm(arm: str, setting: str) -> str:
    """Return the name of the tuning runs of an arm with one setting, such as `l1@lr=1e-3`."""
    return f"{arm}{_SEPARATOR}{setting}"


def arm_and_setting(name: str) -> tuple[str, str]:
    """Split the name of a tuning arm into arm and setting: `l1@lr=1e-3` → `l1`, `lr=1e-3`."""
    arm, _, setting = name.rpartition(_SEPARATOR)
    return arm, setting


def check_fair(arms: Iterable[str], tuned: Mapping[str, Tuned]) -> None:
    """Raise a ValueError unless all arms are tuned, each with the same number of settings."""
    counts = {arm: len(this.settings) for arm, this in tuned.items()}
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
    """Raise a ValueError unless `factory` is a function, or already `Tuned` or `Chosen`. A module is no function, though Python can call it."""
    if isinstance(factory, nn.Module) or not (callable(factory) or isinstance(factory, Tuned)):
        raise ValueError(
            f"{what}: is a {type(factory).__name__}; expected a function without arguments that builds a SegmentationModule, as in "
            "lambda: SegmentationModule(...), because nothing may be built before its seed is set"
        )


def meant(name: str, known: Iterable[str]) -> str:
    """Return a hint at the closest known name, for an error message; an empty text if no name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
