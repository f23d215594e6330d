"""`run --dry_run`: print the runs of a plan with their states, and the command of each run.

Plain text: there may be ten thousand runs.
"""

from collections.abc import Sequence

from seglab.cluster.command import shell
from seglab.compare.numbers.tuning import FINALISTS
from seglab.data.loading.divisions import division_lines
from seglab.records import Run, arm_and_tuning
from seglab.running import ledger
from seglab.running.plan import Plan
from seglab.running.status import count
from seglab.script.planning import planning_lines
from seglab.study.arms import Chosen, arm_and_setting
from seglab.study.study import Study


def print_runs(stages: Sequence[Plan], *, full: bool = False) -> None:
    """Print what `run` would do: a table for each stage, what the study can show, then the command of each run.

    With `full`, the commands also name flags that have their default values.
    """
    for stage in stages:
        print(dry_run_table(stage, stage.all_runs))
        if stage.tunes is None:
            print(*(f"{line}\n" for line in planning_lines(stage)), sep="", end="")
        for line in _following(stage):
            print(line)
    for stage in stages:
        for run in stage.all_runs:
            print(shell(stage.command(run) if full else stage.short_command(run)))


def dry_run_table(plan: Plan, runs: Sequence[Run]) -> str:
    """Return a line for each of a plan's runs."""
    tuned = plan.tunes is not None or plan.study.budget is not None
    untested = set(plan.untested)
    rows = [("arm", *(["setting"] if tuned else []), "seed", "state")]
    for run in runs:
        name = _arm_and_setting(plan, run) if tuned else (run.arm,)
        rows.append((*name, str(run.seed), "to test" if run in untested else ledger.state(run.directory(plan.folder))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    shifts = f", each tested under {', '.join(plan.study.shifts)} too" if plan.study.shifts else ""
    divisions = division_lines(plan.study.data, list(dict.fromkeys(run.seed for run in runs)))
    return "\n".join([f"{plan.folder}: {count(len(runs), 'run')}{shifts}", *lines, *divisions])


def _following(plan: Plan) -> list[str]:
    """Return lines on the tuning runs that follow from the results of others, and cannot be listed yet."""
    if plan.tunes is None:
        return []
    study = plan.tunes
    arms = {name: tuned for name, tuned in study.tuned.items() if plan.selection.has_arm(arm_and_tuning(name, study.tunings)[0])}
    proposed = sum(tuned.budget - len(tuned.settings) for tuned in arms.values())
    untried = {arm_and_setting(run.arm)[0] for run in study.tuning_runs() if not plan.settled(run)}
    undecided = [arm for arm, tuned in arms.items() if not tuned.finalists and (arm in untried or len(tuned.settings) < tuned.budget)]
    seeds = ", ".join(map(str, study.final_round_seeds))
    searched = f"when they have ended, {proposed} more settings are proposed from their scores, in rounds"
    final = (
        f"when all settings have been tried, the best {min(FINALISTS, plan.tunes.budget or 0)} of each arm compete under the seeds {seeds}"
    )
    if study.tunings > 1:
        final += f" in the first of {study.tunings} tunings, and under as many seeds of its own in each other one"
    return [*([searched] if proposed else []), *([final] if undecided and seeds else []), *_budget(study, len(arms))]


def _budget(study: Study, arms: int) -> list[str]:
    """Return a line with the number of tuning runs in all, if the tuning is repeated.

    `arms` counts each tuning of an arm.
    """
    if study.tunings == 1 or study.budget is None:
        return []
    own = study.budget * len(study.tuning_seeds) + min(FINALISTS, study.budget) * len(study.final_round_seeds)
    return [
        f"{study.tunings} tunings of each arm: {arms * own} tuning runs in all ({own} for each arm and tuning, fewer where settings diverge), and "
        f"{study.tunings} pairs for each test"
    ]


def _arm_and_setting(plan: Plan, run: Run) -> tuple[str, str]:
    if plan.tunes is not None:
        return arm_and_setting(run.arm)
    arm = plan.study.each_arm[plan.study.entry(run)]
    return run.arm, arm.setting if isinstance(arm, Chosen) else "to be chosen"
