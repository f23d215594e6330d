"""Tuning: choose the setting of each arm among its candidates.

The choice is recomputed from the results of the tuning runs each time it is needed. `choice.json` is written for people and never read.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from seglab.compare.metric import Metric
from seglab.compare.numbers import statistics
from seglab.compare.unit import Unit
from seglab.exit_codes import DONE, ELSEWHERE, FAILED
from seglab.records import TUNING, Run, StudyRecord, identity, read_record, read_result, write_json
from seglab.running import ledger
from seglab.running.local import Launcher
from seglab.running.plan import Plan, check_shared
from seglab.script.supervise import supervise
from seglab.study.arms import tuning_arm
from seglab.study.study import Study


@dataclass(frozen=True)
class Candidate:
    """A setting of an arm, and its score under each tuning seed; NaN where the training diverged."""

    setting: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the scores; -inf if the setting diverged under any tuning seed."""
        return -math.inf if any(map(math.isnan, self.scores)) else float(statistics.mean(np.array(self.scores)))

    @property
    def sd(self) -> float:
        """Standard deviation of the scores; NaN for fewer than two."""
        return float(statistics.standard_deviation(np.array(self.scores)))


@dataclass(frozen=True)
class Choice:
    """The candidates of an arm whose tuning is complete."""

    arm: str
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        """Candidate with the highest mean, the first of equals; None if every candidate has diverged."""
        first = max(self.candidates, key=lambda candidate: candidate.mean)
        return None if first.mean == -math.inf else first

    @property
    def expected_best(self) -> list[float]:
        """Expected score of the best of k candidates drawn at random, for k = 1, 2, ...; -inf if all k may have diverged."""
        return [float(value) for value in statistics.expected_best(np.array([candidate.mean for candidate in self.candidates]))]


def tune(plan: Plan, launcher: Launcher, jobs: int, console: Console, *, wait: bool = False) -> int:
    """Finish the tuning runs of the plan's arms, and choose a setting of each arm.

    Returns:
        DONE if every arm has a setting, ELSEWHERE if other processes still work on the tuning runs, else FAILED.
    """
    check_shared(plan)
    runs = tuning_plan(plan)
    code = supervise(runs, launcher, jobs, console, wait=wait)
    found = choices(plan.study, runs.folder)
    _keep(plan.study, found, runs.folder)
    mine = [choice for choice in found if plan.selection.has_arm(choice.arm)]
    _show(mine, plan.study, console)
    lacking = _all_lacking(plan, found)
    for line in lacking:
        console.print(line, style="red", highlight=False, markup=False)
    return DONE if not lacking else ELSEWHERE if code == ELSEWHERE else FAILED


def tuning_plan(plan: Plan) -> Plan:
    """Return the plan of a tuned study's tuning runs."""
    return dataclasses.replace(plan, study=plan.study.tuning(), tunes=plan.study)


def final_plan(plan: Plan) -> Plan:
    """Return the plan with the settings that have been chosen so far.

    Raises:
        ValueError: the plan asks for one seed of an arm whose setting has not been chosen.
    """
    if plan.study.budget is None:
        return plan
    plan.study.runs(plan.selection.arm, plan.selection.seed)  # raises an error if the arm or the seed does not exist
    found = choices(plan.study, plan.folder / TUNING)
    lacking = _all_lacking(plan, found)
    if lacking and plan.selection.seed is not None:
        raise ValueError(f"{plan.folder}, seed {plan.selection.seed}: {'; '.join(lacking)}. `run` without --seed tunes first")
    return _with_choices(plan, found)


def stages_of(plan: Plan) -> list[Plan]:
    """Return the plans that `run` does one after the other."""
    if plan.study.budget is None:
        return [plan]
    if plan.selection.setting is not None:
        return [tuning_plan(plan)]
    final = _with_choices(plan, choices(plan.study, plan.folder / TUNING))
    return [final] if plan.selection.seed is not None else [tuning_plan(plan), final]


def choices(study: Study, folder: Path) -> list[Choice]:
    """Return a choice for every arm whose tuning runs in `folder` are all settled: each has a result, or has diverged."""
    record = read_record(folder)
    if record is None:
        return []
    found = []
    for arm, tuned in study.tuned.items():
        candidates = [_candidate(study, arm, setting, record, folder) for setting in tuned.settings]
        complete = tuple(candidate for candidate in candidates if candidate is not None)
        if len(complete) == len(candidates):
            found.append(Choice(arm, complete))
    return found


def _candidate(study: Study, arm: str, setting: str, record: StudyRecord, folder: Path) -> Candidate | None:
    """Return a setting with its scores; None if not all of its runs are settled."""
    runs = [Run(record.study, tuning_arm(arm, setting), seed) for seed in study.tuning_seeds]
    if not all(ledger.settled(run.directory(folder), tuning=True) for run in runs):
        return None
    return Candidate(setting, tuple(_score(run, study.tuning_metric, record, folder) for run in runs))


def _score(run: Run, metric: str, record: StudyRecord, folder: Path) -> float:
    """Return the score of a settled run; NaN if it has diverged."""
    path = run.directory(folder) / "result.json"
    if not path.exists():
        return math.nan
    result = read_result(path)
    if run.arm not in record.arms or result.identity != identity(record, run):
        raise ValueError(f"{path}: was made with other settings than those of {folder / 'study.json'}; delete it and `run` again")
    return result.score(metric)


def _with_choices(plan: Plan, found: Sequence[Choice]) -> Plan:
    return dataclasses.replace(plan, study=plan.study.with_settings({choice.arm: choice.best.setting for choice in found if choice.best}))


def _all_lacking(plan: Plan, found: Sequence[Choice]) -> list[str]:
    """Return a line for each selected arm that has no setting."""
    return [line for arm in plan.study.arms if plan.selection.has_arm(arm) for line in _lacking(arm, found)]


def _lacking(arm: str, found: Sequence[Choice]) -> list[str]:
    """Return a line that says why an arm has no setting; no line if it has one."""
    choice = next((choice for choice in found if choice.arm == arm), None)
    if choice is None:
        return [f"arm {arm} has no setting yet, as its tuning is not complete"]
    if choice.best is None:
        return [f"arm {arm} has no setting, as all {len(choice.candidates)} have diverged; give it others, under another --name"]
    return []


def _keep(study: Study, found: Sequence[Choice], folder: Path) -> None:
    """Write the choices to `choice.json`, unless the file holds the same choices already."""
    path = folder / "choice.json"
    now = {
        "metric": study.tuning_metric,
        "seeds": list(study.tuning_seeds),
        "arms": {choice.arm: _described(choice, study.tuning_seeds) for choice in found},
    }
    if not path.exists() or path.read_text(encoding="utf-8").rstrip() != json.dumps(now, indent=1):
        write_json(path, now)


def _described(choice: Choice, seeds: Sequence[int]) -> dict[str, Any]:
    """Return a choice as plain data, with None for a score that is not finite."""
    candidates = {
        candidate.setting: {
            "mean": _finite(candidate.mean),
            "sd": _finite(candidate.sd),
            "n": sum(map(math.isfinite, candidate.scores)),
            "scores": {str(seed): _finite(score) for seed, score in zip(seeds, candidate.scores, strict=True)},
        }
        for candidate in choice.candidates
    }
    best = {"setting": None} if choice.best is None else {"setting": choice.best.setting, **candidates[choice.best.setting]}
    return {**best, "candidates": candidates, "expected_best": [_finite(value) for value in choice.expected_best]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _show(found: Sequence[Choice], study: Study, console: Console) -> None:
    """Print every candidate with its score, the chosen ones marked, and the expected score of the best of 1, 2, … candidates."""
    if not found:
        return
    metric = Metric.parse(study.tuning_metric)
    measure = f"{metric.title} {metric.unit.level}".rstrip()
    table = Table()
    for heading in ("arm", "setting", measure, ""):
        table.add_column(heading, justify="right" if heading == measure else "left", overflow="fold")
    for choice in found:
        for candidate in choice.candidates:
            table.add_row(choice.arm, candidate.setting, _mean_and_sd(candidate, metric.unit), "chosen" if candidate is choice.best else "")
    seeds = ", ".join(map(str, study.tuning_seeds))
    console.print(
        f"{study.name}: each arm's setting is that with the largest mean {measure} over the tuning seeds {seeds}", highlight=False
    )
    console.print(table)
    curves = "; ".join(f"{choice.arm} {_curve(choice, metric.unit)}" for choice in found)
    console.print(f"expected {measure} of the best of 1, 2, … of the settings: {curves}", style="dim", highlight=False, markup=False)


def _curve(choice: Choice, unit: Unit) -> str:
    return ", ".join(unit.value(value if math.isfinite(value) else math.nan) for value in choice.expected_best)


def _mean_and_sd(candidate: Candidate, unit: Unit) -> str:
    return "diverged" if candidate.mean == -math.inf else unit.mean_and_sd(candidate.mean, candidate.sd)
