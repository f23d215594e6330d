"""A study: arms × seeds on one data set, with one baseline."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seglab.compare.metric import Metric
from seglab.data import SegmentationDataModule
from seglab.data.shifts import Shift
from seglab.records import MEAN, TUNING, Run, check_name
from seglab.study.arms import Arm, Chosen, Tuned, check_factory, check_fair, meant, tuning_arm
from seglab.study.factors import check_factors

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]


@dataclass(frozen=True)
class Study:
    """One question, answered by training every arm under every seed with the same data, batches and number of steps.

    A seed fixes initialisation, order and augmentation, the same for every arm: the runs of a seed are a pair to compare.
    """

    name: str
    data: SegmentationDataModule
    epochs: int
    seeds: Sequence[int]
    baseline: str
    """Name of the arm that all others are compared with."""
    arms: Mapping[str, Arm | Tuned]
    """Factory of each arm, by name; or candidate settings of each arm, the same number for all (an equal tuning budget)."""
    metric: str = "test/miou"
    precision: Precision = "32-true"
    accumulate: int = 1
    """Batches per optimizer step."""
    gradient_clip: float | None = None
    """Maximum norm of the gradient, penalty included; None does not clip."""
    tuning_seeds: Sequence[int] = (1000, 1001)
    """Seeds under which each setting of a tuned arm is tried. They differ from all `seeds`."""
    tuning_metric: str = "val/miou"
    """Metric that chooses the setting of a tuned arm: the setting with the largest mean over the tuning seeds."""
    factors: Sequence[str] = ()
    """Names of two factors that the arms cross, such as ("penalty", "schedule") for the arms none+full, l2+full, none+frozen, l2+frozen.
    The comparison then adds the effect of each factor and their interaction. Empty if the arms cross no factors."""
    shifts: Mapping[str, Shift] = dataclasses.field(default_factory=dict)
    """Shifted test sets on which the trained networks are scored too, by name: `{"noise-3": GaussianNoise(3)}` gives the metric
    `shift/noise-3/miou`. They change no training."""

    def __post_init__(self) -> None:
        check_name("study", self.name)
        for arm, factory in self.arms.items():
            check_name("arm", arm)
            check_factory(f"arm {arm}", factory)
        self._check_arm(self.baseline, "baseline")
        self._check_shifts()
        if not self.seeds:
            raise ValueError("there are no seeds: --seeds must be 1 or more")
        _check_seeds("seeds", self.seeds)
        for field, value in (("epochs", self.epochs), ("accumulate", self.accumulate)):
            if value < 1:
                raise ValueError(f"{field} {value}: must be 1 or more")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip {self.gradient_clip}: must be above 0, or none at all")
        if self.factors:
            check_factors(self.factors, list(self.arms))
        if self.budget is not None:
            self._check_tuning()

    @property
    def tuned(self) -> dict[str, Tuned]:
        """Candidate settings of each tuned arm, by arm, whether its setting has been chosen or not."""
        found = {arm: this.tuned if isinstance(this, Chosen) else this for arm, this in self.arms.items()}
        return {arm: this for arm, this in found.items() if isinstance(this, Tuned)}

    @property
    def budget(self) -> int | None:
        """Number of settings that are tried for each arm; None if no arm is tuned."""
        return next((len(tuned.settings) for tuned in self.tuned.values()), None)

    def runs(self, arm: str | None = None, seed: int | None = None) -> list[Run]:
        """Return all runs, or the runs of one arm or one seed. The order is seed by seed, so that the first results are already paired."""
        if arm is not None:
            self._check_arm(arm, "arm")
        if self.budget is not None and seed in self.tuning_seeds:
            raise ValueError(f"seed {seed}: is a seed of the tuning; with --arm and --setting it means a tuning run")
        arms = list(self.arms) if arm is None else [arm]
        return [Run(self.name, this, number) for number in (self.seeds if seed is None else [seed]) for this in arms]

    def tuning_runs(self, arm: str | None = None, setting: str | None = None, seed: int | None = None) -> list[Run]:
        """Return the runs of `tuning()`, or its runs of one arm, one setting of this arm, or one tuning seed; seed by seed."""
        if arm is not None:
            self._check_arm(arm, "arm")
        if setting is not None and arm is None:
            raise ValueError(f"--setting {setting}: settings belong to an arm; name it with --arm")
        if setting is not None and arm is not None:
            self.tuned[arm].check_setting(setting)
        if seed is not None and seed not in self.tuning_seeds:
            raise ValueError(f"seed {seed}: the tuning has the seeds {_listed(self.tuning_seeds)}")
        study = self.tuning()
        wanted = [
            tuning_arm(this, candidate)
            for this, tuned in self.tuned.items()
            for candidate in tuned.settings
            if arm in (None, this) and setting in (None, candidate)
        ]
        return [run for run in study.runs(seed=seed) if run.arm in wanted]

    def tuning(self) -> "Study":
        """Return the study of all settings of all tuned arms under the tuning seeds, compared on the tuning metric."""
        tuned = self.tuned
        return dataclasses.replace(
            self,
            name=f"{self.name}-tuning",
            seeds=self.tuning_seeds,
            baseline=tuning_arm(self.baseline, next(iter(tuned[self.baseline].settings))),
            arms={tuning_arm(arm, setting): factory for arm, this in tuned.items() for setting, factory in this.settings.items()},
            metric=self.tuning_metric,
            factors=(),
            shifts={},
        )

    def with_settings(self, chosen: Mapping[str, str]) -> "Study":
        """Return the study with the setting that `chosen` names for each arm. Arms that `chosen` does not name stay unchanged."""
        tuned = self.tuned
        return dataclasses.replace(
            self, arms={arm: Chosen(tuned[arm], chosen[arm]) if arm in chosen else this for arm, this in self.arms.items()}
        )

    def factory(self, arm: str) -> Arm:
        """Return the factory of an arm; raise a ValueError if the arm's setting has not been chosen."""
        found = self.arms[arm]
        if isinstance(found, Tuned):
            raise ValueError(f"arm {arm!r} has {len(found.settings)} settings to choose from; choose one, as in with_settings")
        return found

    def _check_tuning(self) -> None:
        tuned = self.tuned
        check_fair(self.arms, tuned)
        if TUNING in tuned:
            raise ValueError(f"arm {TUNING!r}: is the folder of the tuning runs; give the arm another name")
        if not self.tuning_seeds:
            raise ValueError("there are no tuning seeds: tuning_seeds must be 1 or more")
        _check_seeds("tuning seeds", self.tuning_seeds)
        if both := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise ValueError(
                f"tuning seeds {_listed(self.tuning_seeds)}: {_listed(both)} of them are seeds of the study too; "
                "a setting may not be chosen on the seeds that it is then judged by. Choose fewer seeds, or other tuning_seeds"
            )
        chosen_by = Metric.parse(self.tuning_metric)
        if chosen_by.split != "val" or chosen_by.smaller_is_better:
            raise ValueError(
                f"tuning metric {self.tuning_metric!r}: a setting is chosen by a score on the validation split, such as val/miou or val/dice; "
                "never on the test split, and never by a loss or an error, as the largest is chosen"
            )

    def _check_shifts(self) -> None:
        for name, shift in self.shifts.items():
            check_name("shift", name)
            if name == MEAN:
                raise ValueError(f"shift {name!r}: is the name of the mean over the corruptions; give the shift another name")
            if not isinstance(shift, Shift) or not dataclasses.is_dataclass(shift):
                raise ValueError(
                    f"shift {name!r}: is a {type(shift).__name__}; expected a Shift that is a dataclass, such as GaussianNoise(3), as its "
                    "fields are its settings"
                )
        shift_name = Metric.parse(self.metric).shift
        if shift_name not in (None, MEAN, *self.shifts):
            known = f"it has {', '.join(self.shifts)}" if self.shifts else "it has none"
            raise ValueError(f"metric {self.metric!r}: the study has no shift {shift_name!r}{meant(str(shift_name), self.shifts)}; {known}")
        if shift_name == MEAN and not any(shift.domain() is None for shift in self.shifts.values()):
            raise ValueError(f"metric {self.metric!r}: is the mean over the corruptions, and the study has none among its shifts")

    def _check_arm(self, arm: str, what: str) -> None:
        if arm not in self.arms:
            raise ValueError(f"unknown {what} {arm!r}{meant(arm, self.arms)}; the arms of {self.name!r} are {', '.join(self.arms)}")


def _check_seeds(what: str, seeds: Sequence[int]) -> None:
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"{what} {list(seeds)}: they must be all different, 0 or more")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
