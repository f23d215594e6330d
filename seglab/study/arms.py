"""What a study's arms are: how to build one, its candidate settings, the chosen one."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from seglab.module import SegmentationModule
from seglab.records import check_name

Arm = Callable[[], SegmentationModule]
"""Builds an arm's module. A factory, because nothing may be built before the seed is set."""

_SEPARATOR = "@"


@dataclass(frozen=True)
class Tuned:
    """An arm that is tuned: candidate settings of one method by name, of which the best on `val` is trained under the study's seeds.

    All arms of a study are tuned, each among the same number of settings, and a baseline without a penalty among learning rates:

        Study(..., arms={
            "none": Tuned({f"lr={lr:g}": arm(None, lr) for lr in (1e-4, 1e-3, 1e-2)}),
            "l2": Tuned({f"strength={s:g}": arm(L2(s), 1e-3) for s in (1e-5, 1e-4, 1e-3)}),
        })
    """

    settings: Mapping[str, Arm]

    def __post_init__(self) -> None:
        if not self.settings:
            raise ValueError("Tuned: there are no settings; give one or more, as in Tuned({'lr=1e-3': ..., 'lr=1e-4': ...})")
        for setting in self.settings:
            check_name("setting", setting)
            if _SEPARATOR in setting:
                raise ValueError(f"setting {setting!r}: {_SEPARATOR} stands between arm and setting; write = or - instead")

    def check_setting(self, setting: str) -> None:
        """A ValueError, with the name that may be meant, if there is no such setting."""
        if setting not in self.settings:
            raise ValueError(f"unknown setting {setting!r}{meant(setting, self.settings)}; the settings are {', '.join(self.settings)}")


@dataclass(frozen=True)
class Chosen:
    """A tuned arm with the setting that its tuning has chosen."""

    tuned: Tuned
    setting: str

    def __call__(self) -> SegmentationModule:
        return self.tuned.settings[self.setting]()


def tuning_arm(arm: str, setting: str) -> str:
    """What an arm with one of its settings is called among the tuning runs: `l1@lr=1e-3`."""
    return f"{arm}{_SEPARATOR}{setting}"


def arm_and_setting(name: str) -> tuple[str, str]:
    """`l1@lr=1e-3` → `l1`, `lr=1e-3`."""
    arm, _, setting = name.rpartition(_SEPARATOR)
    return arm, setting


def check_fair(arms: Iterable[str], tuned: Mapping[str, Tuned]) -> None:
    """A ValueError unless all arms are tuned, each with the same number of settings."""
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


def meant(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is closest, to go into a message; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
