"""Tuning: choose the setting of each arm among its candidates, in rounds.

Every setting is tried under the tuning seeds; then the best settings compete under further seeds. A sequential search
proposes its settings in several rounds. What is to be tried next is a function of the results so far and of the tuning
folder's `study.json`, so that every process on every machine comes to the same runs. A proposed setting is recorded
there, with its values, before its first run starts.

The choice is recomputed from the results each time it is needed. `choice.json` is written for people and never read.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seglab.compare.metric import Metric
from seglab.compare.numbers.tuning import Candidate, Choice, finalists
from seglab.compare.tuning import Declared, TuningFolder
from seglab.compare.unit import Unit
from seglab.exit_codes import DONE, ELSEWHERE, FAILED
from seglab.records import TUNING, StudyRecord, arm_and_tuning, read_record, write_json
from seglab.running.local import Launcher
from seglab.running.plan import Plan, check_shared
from seglab.script.supervise import supervise
from seglab.study.arms import Tuned, arm_and_setting
from seglab.study.proposals import Trial, propose
from seglab.study.space import Values
from seglab.study.study import Study


def tune(plan: Plan, launcher: Launcher, jobs: int | None, console: Console, *, wait: bool = False) -> int:
    """Finish the tuning runs of the plan's arms, round by round, and choose a setting of each arm.

    Returns:
        DONE if every arm has a setting, ELSEWHERE if other processes still work on the tuning runs, else FAILED.
    """
    check_shared(plan)
    runs = tuning_plan(plan, propose_more=True)
    code = supervise(runs, launcher, jobs, console, wait=wait)
    while (following := tuning_plan(plan, propose_more=True)).runs != runs.runs:  # a round has ended, and the next one follows from it
        runs = following
        code = supervise(runs, launcher, jobs, console, wait=wait)
    found = choices(plan.study, runs.folder)
    _write_choices(plan.study, found, runs.folder)
    mine = [choice for choice in found if _is_selected(plan, choice.arm)]
    _show(mine, plan.study, console)
    lacking = _all_lacking(plan, found)
    for line in lacking:
        console.print(line, style="red", highlight=False, markup=False)
    return DONE if not lacking else ELSEWHERE if code == ELSEWHERE else FAILED


def tuning_plan(plan: Plan, *, propose_more: bool = False) -> Plan:
    """Return the plan of the tuning runs of a study that are known so far.

    Args:
        plan: the plan of the study.
        propose_more: whether a sequential search proposes its next round if the earlier rounds are complete. Only a
            process that records the proposals before it starts their runs may do so; workers do what is recorded.
    """
    study = so_far(plan.study, plan.folder / TUNING, propose_more=propose_more)
    return dataclasses.replace(plan, study=study.tuning(), tunes=study)


def final_plan(plan: Plan) -> Plan:
    """Return the plan with the settings that have been chosen so far.

    Raises:
        ValueError: the plan asks for one seed of an arm whose setting has not been chosen.
    """
    if plan.study.budget is None:
        return plan
    runs = plan.study.runs(plan.selection.arm, plan.selection.seed)  # raises an error if the arm or the seed does not exist
    found = choices(plan.study, plan.folder / TUNING)
    entries = list(dict.fromkeys(plan.study.entry(run) for run in runs))
    lacking = [line for entry in entries for line in _lacking(entry, found)]
    if lacking and plan.selection.seed is not None:
        tunes = "" if {*entries} <= {choice.arm for choice in found} else ". `run` without --seed tunes first"
        raise ValueError(f"{plan.folder}, seed {plan.selection.seed}: {'; '.join(lacking)}{tunes}")
    return _with_choices(plan, found)


def stages_of(plan: Plan) -> list[Plan]:
    """Return the plans that `run` does one after the other.

    Raises:
        ValueError: the plan's folder holds runs of other shared settings, such as settings chosen over other tuning
            seeds.
    """
    if plan.study.budget is None:
        return [plan]
    check_shared(plan)
    if plan.selection.setting is not None:
        return [tuning_plan(plan)]
    final = _with_choices(plan, choices(plan.study, plan.folder / TUNING))
    return [final] if plan.selection.seed is not None else [tuning_plan(plan, propose_more=True), final]


def so_far(study: Study, folder: Path, *, propose_more: bool = False) -> Study:
    """Return the study with what follows from the tuning runs in `folder`.

    These are proposed settings, and the finalists of a complete first round.
    """
    record = read_record(folder)
    recorded = study.with_tuned({arm: _with_recorded(arm, tuned, record) for arm, tuned in study.tuned.items()})
    runs = TuningFolder(folder, record, _declared(recorded))
    return recorded.with_tuned({arm: _advanced(arm, tuned, runs, propose_more) for arm, tuned in recorded.tuned.items()})


def _with_recorded(arm: str, tuned: Tuned, record: StudyRecord | None) -> Tuned:
    """Return an arm of a sequential search with the settings that `study.json` records.

    Other recorded settings leave it as it is.
    """
    if tuned.search is None or record is None:
        return tuned
    names = [name for name in record.arms if arm_and_setting(name)[0] == arm]
    values: list[Values] = [record.arms[name].get("display", {}).get("values", {}) for name in names]
    first = list(tuned.settings)
    if [arm_and_setting(name)[1] for name in names[: len(first)]] != first:
        return tuned  # of another search: the check of the folder refuses the request, with the difference
    return tuned.extended(values[len(first) :])


def _advanced(arm: str, tuned: Tuned, runs: TuningFolder, propose_more: bool) -> Tuned:
    """Return an arm with its next proposals or its finalists, if all runs so far are complete."""
    complete = runs.first_round(arm)
    if complete is None:
        return tuned
    if len(tuned.settings) == tuned.budget:
        return dataclasses.replace(tuned, finalists=finalists(complete) if runs.declared.final_seeds else ())
    if tuned.search is None or not propose_more:
        return tuned
    trials = [Trial(values, one.first) for values, one in zip(tuned.search.tried, complete, strict=True)]
    return tuned.extended(propose(tuned.search.search, trials))


def choices(study: Study, folder: Path) -> list[Choice]:
    """Return a choice for every arm whose tuning runs in `folder` all have a result or have diverged."""
    known = so_far(study, folder)
    runs = TuningFolder(folder, read_record(folder), _declared(known))
    complete = [arm for arm, tuned in known.tuned.items() if len(tuned.settings) == tuned.budget]
    return [choice for arm in complete if (choice := runs.choice(arm)) is not None]


def _declared(study: Study) -> Declared:
    settings: Mapping[str, Sequence[str]] = {arm: tuple(tuned.settings) for arm, tuned in study.tuned.items()}
    return Declared(study.tuning_metric, tuple(study.tuning_seeds), study.final_round_seeds, settings, study.tunings)


def _with_choices(plan: Plan, found: Sequence[Choice]) -> Plan:
    study = so_far(plan.study, plan.folder / TUNING)
    return dataclasses.replace(plan, study=study.with_settings({choice.arm: choice.best.setting for choice in found if choice.best}))


def _all_lacking(plan: Plan, found: Sequence[Choice]) -> list[str]:
    """Return a line for each selected arm that has no setting."""
    return [line for arm in plan.study.each_arm if _is_selected(plan, arm) for line in _lacking(arm, found)]


def _is_selected(plan: Plan, name: str) -> bool:
    """Return whether the arm of a tuning is selected."""
    return plan.selection.has_arm(arm_and_tuning(name, plan.study.tunings)[0])


def _lacking(arm: str, found: Sequence[Choice]) -> list[str]:
    """Return a line that says why an arm has no setting; no line if it has one."""
    choice = next((choice for choice in found if choice.arm == arm), None)
    if choice is None:
        return [f"arm {arm} has no setting yet, as its tuning is not complete"]
    if choice.best is None:
        return [f"arm {arm} has no setting, as all {len(choice.candidates)} have diverged; give it others, under another --name"]
    return []


def _write_choices(study: Study, found: Sequence[Choice], folder: Path) -> None:
    """Write the choices to `choice.json`, unless the file holds the same choices already."""
    path = folder / "choice.json"
    now = {
        "metric": study.tuning_metric,
        "seeds": list(study.tuning_seeds),
        **({"final_seeds": list(study.final_round_seeds)} if study.final_round_seeds else {}),
        **({"tunings": study.tunings} if study.tunings > 1 else {}),
        "arms": {choice.arm: _described(choice, _seeds_of(study, choice.arm)) for choice in found},
    }
    if not path.exists() or path.read_bytes().rstrip() != json.dumps(now, indent=1).encode():
        write_json(path, now)


def _seeds_of(study: Study, arm: str) -> list[int]:
    """Return the seeds of both rounds in which the setting of an arm was chosen."""
    first, final = study.rounds(arm_and_tuning(arm, study.tunings)[1])
    return [*first, *final]


def _described(choice: Choice, seeds: Sequence[int]) -> dict[str, Any]:
    """Return a choice as plain data, with None for a score that is not finite. `seeds` are those of both rounds."""
    candidates = {
        candidate.setting: {
            "mean": _finite(candidate.mean),
            "sd": _finite(candidate.sd),
            "n": sum(map(math.isfinite, candidate.all)),
            "scores": {str(seed): _finite(score) for seed, score in zip(seeds, candidate.all, strict=False)},
        }
        for candidate in choice.candidates
    }
    best = {"setting": None} if choice.best is None else {"setting": choice.best.setting, **candidates[choice.best.setting]}
    stable = {} if math.isnan(choice.stability) else {"stability": choice.stability}
    return {**best, **stable, "candidates": candidates, "expected_best": [_finite(value) for value in choice.expected_best]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _show(found: Sequence[Choice], study: Study, console: Console) -> None:
    """Print all candidates with scores, the chosen ones marked, and the expected best score of 1, 2, … candidates."""
    if not found:
        return
    metric = Metric.parse(study.tuning_metric)
    measure = f"{metric.title} {metric.unit.level}".rstrip()
    table = Table()
    for heading in ("arm", "setting", measure, ""):
        table.add_column(heading, justify="right" if heading == measure else "left", overflow="fold")
    for choice in found:
        for candidate in choice.candidates:
            table.add_row(choice.arm, candidate.setting, _mean_and_sd(candidate, metric.unit), _place(candidate, choice))
    rounds = f"the tuning seeds {', '.join(map(str, study.tuning_seeds))}"
    if study.final_round_seeds:
        rounds += f"; the best settings then competed under {', '.join(map(str, study.final_round_seeds))} too (final round)"
    if study.tunings > 1:
        rounds += f". Tuned {study.tunings} times, each under seeds of its own: {found[0].arm}@2 is the second tuning of {found[0].arm}"
    console.print(f"{study.name}: each arm's setting is that with the largest mean {measure} over {rounds}", highlight=False)
    console.print(table)
    curves = "; ".join(f"{choice.arm} {_curve(choice, metric.unit)}" for choice in found)
    console.print(
        f"expected {measure} of the best of 1, 2, … of the settings in the first round: {curves}",
        style="dim",
        highlight=False,
        markup=False,
    )


def _curve(choice: Choice, unit: Unit) -> str:
    return ", ".join(unit.value(value if math.isfinite(value) else math.nan) for value in choice.expected_best)


def _place(candidate: Candidate, choice: Choice) -> str:
    if candidate is not choice.best:
        return "final round" if candidate.final else ""
    share = choice.stability
    return "chosen" if math.isnan(share) else f"chosen, in {100 * share:.0f} % of redrawn seeds"


def _mean_and_sd(candidate: Candidate, unit: Unit) -> str:
    return "diverged" if candidate.mean == -math.inf else unit.mean_and_sd(candidate.mean, candidate.sd)
