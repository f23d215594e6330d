"""Names of studies, arms, runs and metrics, and the folders of runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TUNING = "tuning"
"""Name of the folder of a study's tuning runs, inside the study's folder. It is read like the folder of any study."""

SETTING = "@"
"""Separator of arm and setting in the name of the arm of tuning runs, such as `l1@lr=1e-3`."""

SHIFT = "shift"
"""First part of the metrics of a shifted test set, such as `shift/noise-3/miou`."""

MEAN = "mean"
"""Name of the mean over the corruptions among the shifts. No shift has this name."""

FILES = ("study.json", "report.html", "finished.json")
"""Names of the files in the folder of a study, beside the folders of its arms."""

CROSSING = "+"
"""Separator of the levels in the name of an arm of a factorial study."""

IMAGE_SCORES = ("image_miou", "image_dice", "image_miou_worst10")
"""Names of the scores that are means over images. Results of earlier versions lack them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,-]{0,127}")


def check_name(kind: str, name: object) -> str:
    """Return `name`; raise a ValueError with the allowed characters if it cannot be a folder on every file system."""
    if not isinstance(name, str):
        raise ValueError(f"{kind} {name!r}: is a {type(name).__name__}; a name is text, as in 'l2'")
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{kind} {name!r}: a name starts with a letter or digit and goes on with up to 127 letters, digits or any of . _ + @ = , -"
        )
    return name


def arm_of_tuning(arm: str, place: int) -> str:
    """Return the name of an arm in one of its repeated tunings, from 0 on; in the first it is the arm's own name.

    >>> arm_of_tuning("l2", 0), arm_of_tuning("l2", 1)
    ('l2', 'l2@2')
    """
    return arm if place == 0 else f"{arm}{SETTING}{place + 1}"


def arm_and_tuning(name: str, tunings: int) -> tuple[str, int]:
    """Return the arm and the tuning that `arm_of_tuning` has named, in a study with this number of tunings.

    >>> arm_and_tuning("l2@2", 3), arm_and_tuning("l2", 3), arm_and_tuning("l2@2", 1)
    (('l2', 1), ('l2', 0), ('l2@2', 0))
    """
    arm, found, number = name.rpartition(SETTING)
    return (arm, int(number) - 1) if tunings > 1 and found else (name, 0)


def shifted_seeds(seeds: Sequence[int], both_rounds: Sequence[int], place: int) -> tuple[int, ...]:
    """Return the seeds of a tuning, from 0 on, that stand for `seeds` of the first one. No two tunings share a seed.

    >>> shifted_seeds((1000, 1001), (1000, 1001, 1002), 1)
    (1003, 1004)

    Args:
        seeds: seeds of one round of the first tuning.
        both_rounds: seeds of both rounds of the first tuning.
        place: place of the tuning.
    """
    span = max(both_rounds) - min(both_rounds) + 1
    return tuple(seed + place * span for seed in seeds)


def levels_of(arm: str) -> tuple[str, ...]:
    """Return the levels that an arm of a factorial study crosses, in the order of the factors.

    >>> levels_of("l2+frozen")
    ('l2', 'frozen')
    """
    return tuple(arm.split(CROSSING))


@dataclass(frozen=True, order=True)
class Run:
    """One training: an arm of a study under one seed."""

    study: str
    arm: str
    seed: int

    def __post_init__(self) -> None:
        check_name("study", self.study)
        check_name("arm", self.arm)
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: seeds are 0 or more")

    @property
    def name(self) -> str:
        """Name of the run in logs and in W&B."""
        return f"{self.study}/{self.arm}/s{self.seed}"

    def directory(self, folder: Path) -> Path:
        """Return the folder of the run, inside the study's `folder`."""
        return folder / self.arm / f"seed-{self.seed}"
