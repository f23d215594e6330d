"""A study: arms × seeds on one data set, with one baseline."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from seglab.compare.criteria import Criteria
from seglab.compare.metric import Metric
from seglab.data import SegmentationDataModule
from seglab.data.shifts import Shift
from seglab.data.sources.cross_validation import check_seeds
from seglab.data.sources.folds import Folds, check_folds
from seglab.given import check_kind, check_whole, check_whole_seeds
from seglab.records import FILES, MEAN, SETTING, TUNING, Analysis, Run, arm_of_tuning, check_name, shifted_seeds
from seglab.study.arms import Arm, Chosen, Tuned, check_factory, check_fair, tuning_arm, tuning_arms
from seglab.study.factors import check_factors
from seglab.suggestions import did_you_mean

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]


@dataclass(frozen=True)
class Study:
    """One question, answered by training every arm under every seed with the same data, batches and number of steps.

    A seed fixes initialisation, order and augmentation, the same for every arm: the runs of a seed are a pair to
    compare.
    """

    name: str
    data: SegmentationDataModule
    epochs: int
    seeds: Sequence[int]
    baseline: str
    """Name of the arm that all others are compared with."""
    arms: Mapping[str, Arm | Tuned | Sequence[Arm | Tuned]]
    """Factory of each arm, by name; or candidate settings of each arm, equally many for all (an equal tuning budget). A
    list of `Tuned` gives each of several `tunings` candidates of its own.
    """
    metric: str = "test/miou"
    precision: Precision = "32-true"
    channels_last: bool = False
    """Keep weights of convolutions in channels-last memory format, which changes the last digits of the numbers."""
    compile: bool = False
    """True if `torch.compile` translates the network, which changes the last digits of the numbers."""
    accumulate: int = 1
    """Batches per optimizer step."""
    gradient_clip: float | None = None
    """Maximum norm of the gradient, penalty included; None does not clip."""
    tuning_seeds: Sequence[int] = (1000, 1001, 1002, 1003, 1004)
    """Seeds under which each setting of a tuned arm is tried. They differ from all `seeds`."""
    final_round: int = 5
    """Number of further seeds, after the last of `tuning_seeds`, under which each arm's best three settings compete.
    The chosen setting has the largest mean over all its tuning seeds. 0 chooses by `tuning_seeds` alone.
    """
    tuning_metric: str = "val/miou"
    """Metric that chooses the setting of a tuned arm."""
    tuning_folds: int | None = None
    """Number of folds into which the training and validation samples are divided for the tuning runs. The run of seed s
    validates on fold s mod `tuning_folds` and trains on the others. The final runs have the split of the source. None
    tunes on the split of the source.
    """
    tunings: int = 1
    """Number of independent tunings of each arm, each with tuning seeds of its own. The setting that tuning s mod
    `tunings` has chosen is trained under seed s. The comparison then tests the means over the seeds of each tuning, and
    covers the choice of the settings. 1 takes the chosen settings as given.
    """
    factors: Sequence[str] = ()
    """Names of two factors that the arms cross, such as ("penalty", "schedule"). The arms of this example are
    none+full, l2+full, none+frozen and l2+frozen. The comparison then adds the effect of each factor and their
    interaction. Empty if the arms cross no factors.
    """
    margin: float | None = None
    """Largest difference that does not matter, in raw units of `metric` (0.005 is 0.5 points of a score). None takes
    the metric's own margin; a loss or a cost has none, and no arm is then called equivalent.
    """
    alpha: float = 0.05
    """Rate of false verdicts that is accepted, over all arms: largest adjusted p of a difference."""
    looks: Sequence[int] = ()
    """Numbers of seeds after which verdicts are given before all seeds are done, such as (6, 8) of 10 seeds. Each look
    spends a part of `alpha`. Empty: verdicts are given once, when all seeds are done.
    """
    always_valid: bool = False
    """True if the tests hold after any number of seeds, so that seeds may be added at will. This costs power, and needs
    a margin.
    """
    shifts: Mapping[str, Shift] = dataclasses.field(default_factory=dict)
    """Shifted test sets, scored too, by name: `{"noise-3": GaussianNoise(3)}` gives the metric `shift/noise-3/miou`.
    They change no training.
    """

    def __post_init__(self) -> None:
        check_name("study", self.name)
        check_kind("data", self.data, SegmentationDataModule)
        check_whole_seeds("seeds", self.seeds, "--seeds must be 1 or more")
        check_whole("epochs", self.epochs)
        check_whole("accumulate", self.accumulate)
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision {self.precision!r}: expected one of {', '.join(get_args(Precision))}")
        if not isinstance(self.arms, Mapping) or not self.arms:
            raise ValueError(
                f"arms: {self.arms if isinstance(self.arms, Mapping) else 'a ' + type(self.arms).__name__}; expected the function of each arm by its "
                "name, as in {'none': ..., 'l2': ...}"
            )
        self._check_tunings()
        for arm, own in self.arms.items():
            if check_name("arm", arm) in FILES:
                raise ValueError(f"arm {arm!r}: is a file in the folder of the study; give the arm another name")
            for factory in self._each_tuning(own):
                check_factory(f"arm {arm}", factory)
        self._check_arm(self.baseline, "baseline")
        self._check_shifts()
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip {self.gradient_clip}: must be above 0, or none at all")
        if self.factors:
            check_factors(self.factors, list(self.arms))
        self._check_analysis()
        if self.data.folds is not None:
            self._check_splits(self.data.folds)
        if self.budget is not None:
            self._check_tuning()

    @property
    def tuned(self) -> dict[str, Tuned]:
        """Candidate settings of each tuned arm in `each_arm`, whether its setting has been chosen or not."""
        found = {arm: this.tuned if isinstance(this, Chosen) else this for arm, this in self.each_arm.items()}
        return {arm: this for arm, this in found.items() if isinstance(this, Tuned)}

    @property
    def each_arm(self) -> dict[str, Arm | Tuned]:
        """The arms, each tuning of an arm apart under the name of `arm_of_tuning`.

        These are the entries of `study.json`.
        """
        return {arm_of_tuning(arm, place): one for arm, own in self.arms.items() for place, one in enumerate(self._each_tuning(own))}

    def entry(self, run: Run) -> str:
        """Return the name in `each_arm` of the arm of a run, as `StudyRecord.entry`."""
        return arm_of_tuning(run.arm, run.seed % self.tunings)

    def _each_tuning(self, own: Arm | Tuned | Sequence[Arm | Tuned]) -> Sequence[Arm | Tuned]:
        """Return the arm of each tuning."""
        return tuple(own) if isinstance(own, list | tuple) else (own,) * self.tunings  # type: ignore[return-value] # no other sequence is an arm

    @property
    def budget(self) -> int | None:
        """Number of settings that are tried for each arm; None if no arm is tuned."""
        return next((tuned.budget for tuned in self.tuned.values()), None)

    @property
    def final_round_seeds(self) -> tuple[int, ...]:
        """Seeds of the final round of the first tuning; none if each arm has a single setting."""
        return tuple(range(max(self.tuning_seeds) + 1, max(self.tuning_seeds) + 1 + self.final_round)) if self.budget != 1 else ()

    @property
    def all_tuning_seeds(self) -> tuple[int, ...]:
        """Seeds of both rounds of all tunings."""
        return tuple(seed for place in range(self.tunings) for seeds in self.rounds(place) for seed in seeds)

    def rounds(self, place: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the seeds of the first and of the final round of a tuning, from 0 on."""
        first, final = tuple(self.tuning_seeds), self.final_round_seeds
        return shifted_seeds(first, (*first, *final), place), shifted_seeds(final, (*first, *final), place)

    @property
    def analysis(self) -> Analysis:
        """The declared analysis, with the margin that applies."""
        return Analysis(
            self.baseline,
            self.metric,
            self._criteria.margin,
            self.alpha,
            tuple(self.arms),
            tuple(self.seeds),
            tuple(self.looks),
            self.always_valid,
            tunings=self.tunings,
        )

    def runs(self, arm: str | None = None, seed: int | None = None) -> list[Run]:
        """Return all runs, or the runs of one arm or one seed.

        The order is seed by seed, so that the first results are already paired. Within a seed the arms are in an order
        drawn from the name of the study and the seed, so that no arm is always the first on a cold machine: costs can
        then be compared. The order changes no score.
        """
        if arm is not None:
            self._check_arm(arm, "arm")
        if self.budget is not None and seed in self.all_tuning_seeds:
            raise ValueError(f"seed {seed}: is a seed of the tuning; with --arm and --setting it means a tuning run")
        arms = list(self.arms) if arm is None else [arm]
        return [Run(self.name, this, number) for number in (self.seeds if seed is None else [seed]) for this in self._drawn(arms, number)]

    def _drawn(self, arms: Sequence[str], seed: int) -> list[str]:
        """Return the arms in the order of their runs under a seed: as good as drawn, and always the same."""
        return sorted(arms, key=lambda arm: hashlib.sha256(f"{self.name}/{seed}/{arm}".encode()).digest())

    def tuning_runs(self, arm: str | None = None, setting: str | None = None, seed: int | None = None) -> list[Run]:
        """Return the runs of `tuning()`, or only those of one arm, one setting of this arm, or one tuning seed.

        The order is seed by seed.
        """
        if arm is not None:
            self._check_arm(arm, "arm")
        if setting is not None and arm is None:
            raise ValueError(f"--setting {setting}: settings belong to an arm; name it with --arm")
        if seed is not None and seed not in self.all_tuning_seeds:
            raise ValueError(f"seed {seed}: the tuning has the seeds {_listed(self.all_tuning_seeds)}")
        if setting is not None and arm is not None:
            self._check_setting(arm, setting, seed)
        name, tuned, arms = self.tuning().name, self.tuned, list(self.arms) if arm is None else [arm]
        return [
            Run(name, tuning_arm(arm_of_tuning(this, place), candidate), number)
            for place in range(self.tunings)
            for first, final in [self.rounds(place)]
            for number in (*first, *final)
            if seed in (None, number)
            for this in arms
            for found in [tuned[arm_of_tuning(this, place)]]
            for candidate in found.settings
            if setting in (None, candidate) and (number in first or candidate in found.finalists)
        ]

    def _check_setting(self, arm: str, setting: str, seed: int | None) -> None:
        """Raise a ValueError if no tuning of an arm, or not the one with this tuning seed, tries the setting."""
        tuned = self.tuned
        own = [(self.rounds(place), tuned[arm_of_tuning(arm, place)]) for place in range(self.tunings)]
        if seed is not None:
            own = [(rounds, found) for rounds, found in own if seed in (*rounds[0], *rounds[1])]
        if not any(setting in found.settings for _, found in own):
            own[0][1].check_setting(setting)
        if any(seed in final and setting not in found.finalists for (_, final), found in own):
            raise ValueError(f"seed {seed}: is of the final round, and setting {setting!r} of arm {arm!r} is not known to be in it")

    def tuning(self) -> "Study":
        """Return the study of all settings of all tuned arms under the tuning seeds, compared on the tuning metric.

        Raises:
            ValueError: the data cannot be divided into `tuning_folds`.
        """
        tuned = self.tuned
        return dataclasses.replace(
            self,
            name=f"{self.name}-tuning",
            data=self.data if self.tuning_folds is None else self.data.with_source(Folds(self.data.source, self.tuning_folds)),
            seeds=self.all_tuning_seeds,
            baseline=tuning_arm(self.baseline, next(iter(tuned[self.baseline].settings))),
            arms={name: factory for arm, this in tuned.items() for name, factory in tuning_arms(arm, this).items()},
            metric=self.tuning_metric,
            tunings=1,
            factors=(),
            margin=None,
            looks=(),
            always_valid=False,
            shifts={},
        )

    def with_settings(self, chosen: Mapping[str, str]) -> "Study":
        """Return the study with the setting that `chosen` names for each of `each_arm`.

        Arms that `chosen` does not name stay unchanged.
        """
        tuned = self.tuned
        return self._with_each({arm: Chosen(tuned[arm], setting) for arm, setting in chosen.items()})

    def with_tuned(self, tuned: Mapping[str, Tuned]) -> "Study":
        """Return the study with others of `each_arm`: those that `tuned` names, such as arms with more settings."""
        return self._with_each(tuned)

    def _with_each(self, others: Mapping[str, Arm | Tuned]) -> "Study":
        """Return the study with others of `each_arm`."""
        each = {**self.each_arm, **others}
        if self.tunings == 1:
            return dataclasses.replace(self, arms=each)
        return dataclasses.replace(
            self, arms={arm: tuple(each[arm_of_tuning(arm, place)] for place in range(self.tunings)) for arm in self.arms}
        )

    def factory(self, arm: str) -> Arm:
        """Return the factory of one of `each_arm`; raise a ValueError if its setting has not been chosen."""
        found = self.each_arm[arm]
        if isinstance(found, Tuned):
            raise ValueError(f"arm {arm!r} has {len(found.settings)} settings to choose from; choose one, as in with_settings")
        return found

    @property
    def _criteria(self) -> Criteria:
        return Criteria(Metric.parse(self.metric), self.baseline, self.alpha, self.margin)

    def _check_analysis(self) -> None:
        """Raise a ValueError if the declared analysis is not valid."""
        criteria, looks, seeds = self._criteria, list(self.looks), len(self.seeds)
        if looks != sorted(set(looks)) or any(not 1 <= look < seeds for look in looks):
            raise ValueError(
                f"looks {looks}: expected increasing numbers of seeds, from 1 to {seeds - 1}: the last look, at all {seeds} seeds, is always there"
            )
        if self.always_valid and looks:
            raise ValueError(
                f"always_valid and looks {looks}: tests that hold after any number of seeds need no looks; give one of the two"
            )
        if self.always_valid and self.tunings > 1:
            raise ValueError(
                f"always_valid and tunings {self.tunings}: seeds that are added change the mean of each tuning, and no test holds after any "
                "number of them; give one of the two"
            )
        if self.always_valid and criteria.margin is None:
            raise ValueError(f"always_valid: the test is scaled by the margin, and {self.metric} has none; give one, as in margin=0.005")

    def _check_splits(self, folds: int) -> None:
        """Raise a ValueError if the seeds are not whole repetitions of the folds, or folds exclude an option."""
        check_seeds(folds, self.seeds)
        if self.budget is not None:
            raise ValueError(
                f"folds {folds} with tuned arms: every image is a test image of some seed, so that settings would be chosen on test images; "
                "give each arm one setting (such as --settings 1), chosen on other data, or leave folds out"
            )
        if self.looks or self.always_valid:
            raise ValueError(
                f"folds {folds} with {'looks' if self.looks else 'always_valid'}: seeds that share images are judged once, when all of them are "
                "done; leave one of the two out"
            )

    def _check_tuning(self) -> None:
        tuned = self.tuned
        check_fair(self.each_arm, tuned)
        if TUNING in tuned:
            raise ValueError(f"arm {TUNING!r}: is the folder of the tuning runs; give the arm another name")
        check_whole_seeds("tuning seeds", self.tuning_seeds, "tuning_seeds must be 1 or more")
        if self.final_round < 0:
            raise ValueError(f"final_round {self.final_round}: must be 0, which is none, or the number of its seeds")
        if both := sorted(set(self.seeds) & set(self.all_tuning_seeds)):
            raise ValueError(
                f"tuning seeds {_listed(self.all_tuning_seeds)}: {_listed(both)} of them are seeds of the study too; "
                "a setting may not be chosen on the seeds that it is then judged by. Choose fewer seeds, or other tuning_seeds"
            )
        if self.tuning_folds is not None:
            check_folds(self.tuning_folds, self.tuning_seeds, "tuning_seeds")
            if self.final_round_seeds:
                check_folds(self.tuning_folds, self.final_round_seeds, "final_round")
        chosen_by = Metric.parse(self.tuning_metric)
        if chosen_by.split != "val" or chosen_by.smaller_is_better:
            raise ValueError(
                f"tuning metric {self.tuning_metric!r}: a setting is chosen by a score on the validation split, such as val/miou or val/dice; "
                "never on the test split, and never by a loss or an error, as the largest is chosen"
            )

    def _check_tunings(self) -> None:
        """Raise a ValueError unless the tunings are valid and share the declared seeds evenly at each look."""
        if self.tunings < 1:
            raise ValueError(f"tunings {self.tunings}: must be 1, or the number of independent tunings of each arm")
        for arm, own in self.arms.items():
            if isinstance(own, list | tuple) and (self.tunings == 1 or len(own) != self.tunings):
                raise ValueError(
                    f"arm {arm!r}: is a list of {len(own)}, and tunings is {self.tunings}; expected one Tuned, or a list with one Tuned for each of "
                    "2 tunings or more"
                )
        if self.tunings == 1:
            return
        if len(self.tuned) < len(self.each_arm):
            raise ValueError(f"tunings {self.tunings}: an arm is not tuned, so there is nothing to repeat; give 1, or tune each arm")
        if marked := [arm for arm in self.arms if SETTING in arm]:
            raise ValueError(f"arm {marked[0]!r}: {SETTING} stands between arm and tuning where tunings is above 1; write = or - instead")
        for number in (*self.looks, len(self.seeds)):
            counts = {sum(seed % self.tunings == place for seed in self.seeds[:number]) for place in range(self.tunings)}
            if len(counts) > 1:
                raise ValueError(
                    f"tunings {self.tunings}: seed s belongs to tuning s mod {self.tunings}, and {number} seeds ({_listed(self.seeds[:number])}) are "
                    f"not evenly distributed over them; give a multiple of {self.tunings} seeds"
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
            raise ValueError(
                f"metric {self.metric!r}: the study has no shift {shift_name!r}{did_you_mean(str(shift_name), self.shifts)}; {known}"
            )
        if shift_name == MEAN and Metric.parse(self.metric).class_name is not None:
            raise ValueError(f"metric {self.metric!r}: the mean over the corruptions has no scores of classes; give shift/{MEAN}/miou")
        if shift_name == MEAN and not any(shift.domain() is None for shift in self.shifts.values()):
            raise ValueError(f"metric {self.metric!r}: is the mean over the corruptions, and the study has none among its shifts")

    def _check_arm(self, arm: str, what: str) -> None:
        if arm not in self.arms:
            raise ValueError(f"unknown {what} {arm!r}{did_you_mean(arm, self.arms)}; the arms of {self.name!r} are {', '.join(self.arms)}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
