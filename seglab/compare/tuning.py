"""Tuning of a study, from the folder of its tuning runs: candidates, choices, costs, and notes on doubtful choices."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from seglab.compare.environments import devices
from seglab.compare.metric import Metric
from seglab.compare.numbers.tuning import Candidate, Choice, finalists
from seglab.records import (
    SETTING,
    TUNING,
    Run,
    StudyRecord,
    alike,
    arm_and_tuning,
    arm_of_tuning,
    has_diverged,
    identity,
    read_record,
    read_result,
    shifted_seeds,
)

STABLE = 0.8
"""Share of bootstrap draws with the same choice below which a choice is called unstable."""


@dataclass(frozen=True)
class Declared:
    """Tuning of the arms of a study."""

    metric: str
    seeds: tuple[int, ...]
    """Seeds of the first round, in which every setting is tried; those of the first tuning if there are several."""
    final_seeds: tuple[int, ...]
    """Seeds of the final round of the best settings; empty without a final round."""
    settings: Mapping[str, Sequence[str]]
    """Settings of each arm, in their order; of each tuning of an arm, by the name of `arm_of_tuning`."""
    tunings: int = 1
    """Number of independent tunings of each arm."""

    def rounds(self, arm: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the seeds of the first and of the final round in which the setting of an arm was chosen."""
        place = arm_and_tuning(arm, self.tunings)[1]
        both = (*self.seeds, *self.final_seeds)
        return shifted_seeds(self.seeds, both, place), shifted_seeds(self.final_seeds, both, place)

    @classmethod
    def read(cls, record: StudyRecord) -> "Declared | None":
        """Return the tuning that a study's record declares; None for a study without tuning."""
        shared = record.shared.get("tuning")
        if not isinstance(shared, Mapping):
            return None
        own = {arm: described.get("tuning") for arm, described in record.arms.items()}
        settings = {arm: tuple(choice.get("settings", ())) for arm, choice in own.items() if isinstance(choice, Mapping)}
        return cls(
            str(shared.get("metric")), tuple(shared.get("seeds", ())), tuple(shared.get("final_seeds", ())), settings, record.tunings
        )


@dataclass(frozen=True)
class TuningFolder:
    """The folder of a study's tuning runs, with its record and the declared tuning.

    The methods raise a ValueError if a result is damaged, or has other settings than the record.
    """

    path: Path
    record: StudyRecord | None
    """Content of the folder's `study.json`; None if no tuning run has been started."""
    declared: Declared

    def first_round(self, arm: str) -> list[Candidate] | None:
        """Return an arm's settings with their first-round scores; None if a run has neither a result nor diverged."""
        settings, (seeds, _) = self.declared.settings[arm], self.declared.rounds(arm)
        found = [self._scores(arm, setting, seeds) for setting in settings]
        if any(scores is None for scores in found):
            return None
        return [Candidate(setting, scores) for setting, scores in zip(settings, found, strict=True) if scores is not None]

    def choice(self, arm: str) -> Choice | None:
        """Return the choice of an arm whose tuning is complete, its final round included; None for another arm."""
        candidates, (_, seeds) = self.first_round(arm), self.declared.rounds(arm)
        if candidates is None:
            return None
        final = {setting: self._scores(arm, setting, seeds) for setting in (finalists(candidates) if seeds else ())}
        if any(scores is None for scores in final.values()):
            return None
        return Choice(arm, tuple(Candidate(one.setting, one.scores, final.get(one.setting) or ()) for one in candidates))

    def _scores(self, arm: str, setting: str, seeds: Sequence[int]) -> tuple[float, ...] | None:
        """Return the score of a setting under each seed, NaN if it has diverged; None if a run is not settled."""
        if self.record is None:
            return None
        runs = [Run(self.record.study, f"{arm}{SETTING}{setting}", seed) for seed in seeds]
        places = [run.directory(self.path) for run in runs]
        if not all((place / "result.json").exists() or has_diverged(place) for place in places):
            return None
        return tuple(self._score(run, self.record) for run in runs)

    def _score(self, run: Run, record: StudyRecord) -> float:
        path = run.directory(self.path) / "result.json"
        if not path.exists():
            return math.nan
        result = read_result(path)
        if run.arm not in record.arms or result.identity != identity(record, run):
            raise ValueError(f"{path}: was made with other settings than those of {self.path / 'study.json'}; delete it and `run` again")
        return result.score(self.declared.metric)


@dataclass(frozen=True)
class Tuning:
    """The tuning of a study whose final runs are compared."""

    declared: Declared
    choices: tuple[Choice, ...]
    """Choices of the arms whose tuning runs can be read."""
    spaces: Mapping[str, Mapping[str, Any]]
    """Search space of each arm, if it is recorded: the scale and the ends or values of each dimension."""
    seconds: Mapping[str, float]
    """Training time of the tuning runs of each arm that have a result."""
    devices: tuple[str, ...]
    """Names of the processors on which the tuning runs were trained."""
    problems: tuple[str, ...] = ()

    @property
    def metric(self) -> Metric:
        """Metric by which the settings were chosen."""
        return Metric.parse(self.declared.metric)

    @property
    def curves(self) -> dict[str, list[float]]:
        """Expected first-round score of the best of 1, 2, ... settings of each arm.

        With several tunings of an arm, the mean over its tunings.
        """
        found: dict[str, list[list[float]]] = {}
        for choice in self.choices:
            found.setdefault(arm_and_tuning(choice.arm, self.declared.tunings)[0], []).append(choice.expected_best)
        return {arm: [sum(values) / len(values) for values in zip(*own, strict=True)] for arm, own in found.items()}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """A line for each kind of doubt about the chosen settings."""
        return (*self.problems, *self._outside(), *self._edges(), *self._close(), *self._unstable())

    def _outside(self) -> list[str]:
        """Say which chosen settings have a value outside of the range, as a strength of 0 has."""
        places: dict[str, list[str]] = {}
        for choice in self.choices:
            for name, value in {} if choice.best is None else values_of(choice.best.setting).items():
                if not self._within(choice.arm, name, value):
                    places.setdefault(f"{name}={value:g}", []).append(choice.arm)
        return [
            f"the chosen setting has {what}, which is none of the range: {', '.join(arms)}; if it switches a method off, the arm is without it"
            for what, arms in places.items()
        ]

    def _edges(self) -> list[str]:
        """Say which chosen settings have the smallest or the largest value that was tried.

        One of two values is always the smallest or the largest: this says nothing where the range goes on. A value of 0
        switches a method off, so that none is smaller.
        """
        places: dict[tuple[str, str, str, str], list[str]] = {}
        for choice in self.choices:
            for name, value in {} if choice.best is None else values_of(choice.best.setting).items():
                tried = {other for one in choice.candidates if (other := values_of(one.setting).get(name)) is not None}
                tried = {other for other in tried if self._within(choice.arm, name, other)}
                if value in tried and value != 0 and len(tried) > 1 and value in (min(tried), max(tried)):
                    side = "largest" if value == max(tried) else "smallest"
                    beyond = self._end_beyond(choice.arm, name, value, side)
                    if beyond is None or len(tried) > 2:
                        remedy = "move or widen the range" if beyond is None else f"the range goes on to {beyond:g}, so try more settings"
                        again = self.declared.tunings > 1  # each tuning may have tried other values
                        key = (name, side, "" if again else f", {value:g}", remedy)
                        places.setdefault(key, []).append(f"{choice.arm} ({value:g})" if again else choice.arm)
        return [
            f"the chosen {name} is the {side} that was tried{value}: {', '.join(arms)}; a {'larger' if side == 'largest' else 'smaller'} "
            f"one may be better: {remedy}, and tune again under another --name"
            for (name, side, value, remedy), arms in places.items()
        ]

    def _end_beyond(self, arm: str, name: str, value: float, side: str) -> float | None:
        """Return the end of the recorded range if it is beyond a value.

        Return None if the value is the end, or if no range is recorded.
        """
        ends = self.spaces.get(arm, {}).get(name, {})
        if "low" not in ends:
            return None
        end = float(ends["high" if side == "largest" else "low"])
        return None if math.isclose(end, value, rel_tol=0.01) else end

    def _close(self) -> list[str]:
        margin = self.metric.margin
        pairs = [(choice.arm, choice.rivals[0].mean - choice.rivals[1].mean) for choice in self.choices if len(choice.rivals) > 1]
        close = [f"{arm} ({self.metric.unit.amount(gap)})" for arm, gap in pairs if margin is not None and gap < margin]
        if margin is None or not close:
            return []
        return [f"the second best setting is within {self.metric.unit.within(margin)} of the chosen one: {', '.join(close)}"]

    def _unstable(self) -> list[str]:
        shares = {choice.arm: choice.stability for choice in self.choices}
        found = [f"{arm} ({100 * share:.0f} %)" for arm, share in shares.items() if share < STABLE]
        if not found:
            return []
        return [
            f"the choice is unstable: drawing the tuning seeds again chooses the same setting in fewer than {100 * STABLE:.0f} % of all draws: "
            f"{', '.join(found)}; more tuning seeds make it stable"
        ]

    def _within(self, arm: str, name: str, value: float) -> bool:
        """Return whether a value is in its recorded range, ends included; True if no range is recorded.

        Names have three digits.
        """
        ends = self.spaces.get(arm, {}).get(name, {})
        return "low" not in ends or ends["low"] - 0.01 * abs(ends["low"]) <= value <= ends["high"] + 0.01 * abs(ends["high"])


def read_tuning(folder: Path, record: StudyRecord | None) -> Tuning | None:
    """Return the tuning of the study in `folder`; None for a study without tuning.

    Unreadable results become `problems`.
    """
    declared = None if record is None else Declared.read(record)
    if record is None or declared is None:
        return None
    place, found, problems = folder / TUNING, list[Choice](), list[str]()
    try:
        runs_of = TuningFolder(place, read_record(place), declared)
    except ValueError as error:
        runs_of = TuningFolder(place, None, declared)
        problems.append(str(error))
    for arm in declared.settings:
        try:
            choice = runs_of.choice(arm)
        except ValueError as error:
            problems.append(f"tuning of {arm}: {error}")
            continue
        if choice is not None:
            found.append(choice)
    if absent := [arm for arm in declared.settings if arm not in {choice.arm for choice in found}]:
        problems.append(f"no complete tuning runs of {', '.join(absent)} in {place}: nothing is said about the choice of their settings")
    problems += _same_settings(runs_of)
    problems += _without_setting(runs_of, record)
    others = {choice.arm: text for choice in found if (text := _other_choice(choice, record.arms[choice.arm]["tuning"].get("chosen")))}
    found = [choice for choice in found if choice.arm not in others]
    problems += others.values()
    spaces = {arm: described.get("display", {}).get("space", {}) for arm, described in record.arms.items()}
    runs = [run for choice in found for run in _runs(declared, choice, f"{record.study}-{TUNING}")]
    return Tuning(declared, tuple(found), spaces, _seconds(runs, place), devices(place, runs), tuple(problems))


def _same_settings(folder: TuningFolder) -> list[str]:
    """Say which candidates of an arm have the same settings under several names."""
    recorded = {} if folder.record is None else folder.record.arms
    found = []
    for arm, settings in folder.declared.settings.items():
        own = {setting: recorded[name] for setting in settings if (name := f"{arm}{SETTING}{setting}") in recorded}
        found += [
            f"tuning of {arm}: {', '.join(group)} have the same settings, so that fewer were tried than there are names, and the name of the "
            "chosen one may be wrong. Check that each candidate uses its own value (a lambda in a loop sees the last one), and tune again under "
            "another --name"
            for group in alike(own)
        ]
    return found


def _without_setting(folder: TuningFolder, record: StudyRecord) -> list[str]:
    """Say which declared arms have no run because every candidate has diverged, or their tuning is not complete."""
    if folder.record is None or record.analysis is None:
        return []
    wanted = [arm_of_tuning(arm, place) for arm in record.analysis.arms for place in range(record.tunings)]
    found = []
    for arm in (arm for arm in wanted if arm not in folder.declared.settings):
        settings = tuple(setting for name in folder.record.arms for own, _, setting in [name.rpartition(SETTING)] if own == arm)
        of_arm = replace(folder, declared=replace(folder.declared, settings={arm: settings}))
        whole = len(settings) == record.shared["tuning"].get("settings")
        try:
            choice = of_arm.choice(arm) if whole else None
        except ValueError as error:
            found.append(f"tuning of {arm}: {error}")
            continue
        if choice is not None and choice.best is None:
            found.append(
                f"tuning of {arm}: all {len(settings)} settings have diverged, so that it has no run; give it others, under another --name"
            )
        elif settings and choice is None:
            found.append(f"tuning of {arm}: is not complete, so that it has no run; `run` again goes on with it")
    return found


def _other_choice(choice: Choice, trained: object) -> str:
    """Return a line if the tuning runs choose another setting than the one that the final runs were trained with.

    The line is empty if they agree, or if `trained`, the setting in the study's record, is None.
    """
    best = None if choice.best is None else choice.best.setting
    if trained is None or best == trained:
        return ""
    return (
        f"tuning of {choice.arm}: its runs now choose {best}, and study.json says that the final runs have {trained}: tuning runs were repeated "
        "or changed since. Nothing is said about this choice"
    )


def values_of(setting: str) -> dict[str, float]:
    """Return the numbers in the name of a setting.

    >>> values_of("lr=1.00e-03,ratio=0,optimizer=sgd")
    {'lr': 0.001, 'ratio': 0.0}
    """
    pairs = (part.partition("=") for part in setting.split(","))
    return {name: value for name, _, text in pairs if (value := _number(text)) is not None}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _runs(declared: Declared, choice: Choice, study: str) -> list[Run]:
    """Return the tuning runs of an arm."""
    first, final = declared.rounds(choice.arm)
    return [
        Run(study, f"{choice.arm}{SETTING}{one.setting}", seed)
        for one in choice.candidates
        for seed in (*first, *(final if one.final else ()))
    ]


def _seconds(runs: Iterable[Run], folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        path = run.directory(folder) / "result.json"
        if path.exists():
            arm = run.arm.rpartition(SETTING)[0]
            found[arm] = found.get(arm, 0.0) + read_result(path).cost.get("seconds", 0.0)
    return found
