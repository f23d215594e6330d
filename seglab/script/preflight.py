"""Check, before anything is written, all that could end every run: place, settings, samples and a step of each arm."""

import gc
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from seglab.data.contents import Format
from seglab.data.loading.divisions import lacking_classes
from seglab.data.shifts.check import check_shifts
from seglab.interruption import listening
from seglab.records import StudyRecord, alike, arm_and_tuning, read_record
from seglab.running.plan import Plan, agreed_record, check_place, check_split
from seglab.running.remedies import needs_gpu
from seglab.running.status import count, duration
from seglab.running.trial import NotFiniteError, TrialSettings, trial_images, try_training
from seglab.script.errors import one_line
from seglab.study.arms import arm_and_setting
from seglab.study.description import built
from seglab.study.failures import raise_failures
from seglab.study.identity import planned, refused_images
from seglab.tracking import check_mode


def check_request(plan: Plan, console: Console) -> StudyRecord:
    """Check the folders and the settings of a plan. Return the record that its folder will hold.

    Raises:
        ValueError: the request cannot be done.
        Exception: the user's code fails.
    """
    check_place(plan.folder)
    check_split(plan)
    agreed = agreed_record(plan)
    todo, number, untested = plan.unsettled, len(plan.runs), plan.untested
    left = len(todo) - len(untested)
    console.print(f"{plan.folder}: {count(number, 'run')}, {number - left} done, {left} to do", highlight=False)
    if untested:
        console.print(f"{count(len(untested), 'done run')} to test under more shifts, without training", highlight=False)
    if todo:
        check_mode(plan.resources.wandb)
        if plan.resources.logger is not None:
            plan.resources.logger.check()
    for run in todo:
        check_place(run.directory(plan.folder))
    return agreed


def check_training(plan: Plan, agreed: StudyRecord, console: Console) -> None:
    """Check all samples, and try each arm that has runs to do and that the folder does not hold yet.

    Raises:
        ValueError: a sample is bad.
        Exception: an arm cannot train, or several cannot, see `raise_failures`.
    """
    images = _checked_images(plan, console)
    failures = {} if images is None else refused_images(agreed, images)
    there = read_record(plan.folder)
    known = () if there is None or plan.accept_code is not None else there.arms
    wanted = {plan.study.entry(run) for run in plan.unsettled}
    new = [arm for arm in plan.study.each_arm if arm in wanted and arm not in (*known, *failures)]
    for group in _alike(plan, agreed):
        if {*group} & {*new}:
            console.print(
                f"note: {', '.join(group)} have the same settings, and train the same network. Check that each factory uses its own value: a "
                "lambda in a loop sees the last value of the loop, unless it binds its own, as in `lambda lr=lr: ...`",
                style="yellow",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    if new and plan.try_arms:
        failures |= _refusing(plan, _try_arms(plan, new, console), console)
    raise_failures(failures)


def _alike(plan: Plan, agreed: StudyRecord) -> list[tuple[str, ...]]:
    """Return the groups of arms with the same settings; of tuning runs, of settings of one arm.

    Arms of different tunings may have chosen the same setting.
    """
    families: dict[object, dict[str, Mapping[str, Any]]] = {}
    for name, described in agreed.arms.items():
        family = arm_and_tuning(name, plan.study.tunings)[1] if plan.tunes is None else arm_and_setting(name)[0]
        families.setdefault(family, {})[name] = described
    return [group for family in families.values() for group in alike(family)]


def _checked_images(plan: Plan, console: Console) -> Format | None:
    """Check every sample and every shift, and return the common format of the images."""
    with _bar("checking the data", console) as bar:
        task = bar.add_task("", total=None)
        data = plan.study.data.check(lambda done, total: bar.update(task, completed=done, total=total))
    console.print(data.sizes, highlight=False)
    for note in (*data.notes, *lacking_classes(plan.study.data, list(dict.fromkeys(run.seed for run in plan.runs)))):
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    check_shifts(plan.whole.shifts, plan.whole.data, data.images)  # before a tuning too: the runs that follow it are tested under them
    if plan.study.shifts:
        console.print(
            f"each run is tested under {count(len(plan.study.shifts), 'shift')} too: {', '.join(plan.study.shifts)}", highlight=False
        )
    return data.images


def _try_arms(plan: Plan, arms: Sequence[str], console: Console) -> dict[str, Exception]:
    """Train one step of each arm and evaluate one image, on the CPU: this process holds no GPU while its workers train.

    Returns:
        The error of each arm that fails. An arm that needs a GPU fails only if the study is to compute on the CPU.
    """
    study, seed, began = plan.study, plan.runs[0].seed, time.monotonic()
    precision = "64-true" if study.precision == "64-true" else "32-true"
    settings = TrialSettings(planned(study), precision, study.gradient_clip)
    failures: dict[str, Exception] = {}
    gc.freeze()  # each trial ends with a garbage collection, which now skips the imported objects
    with listening() as interruption, _bar("trying a step of {task.description}", console) as bar:
        images = trial_images(study.data, seed, plan.resources.batch_norm_parts)
        task = bar.add_task("", total=len(arms))
        for arm in arms:
            bar.update(task, description=f"arm {arm}")
            try:
                try_training(partial(built, study.factory(arm), seed), images, settings, interruption)
            except Exception as error:  # noqa: BLE001 - whatever an arm raises, the other arms are tried
                failures[arm] = error
            bar.advance(task)
    console.print(f"tried a step of {count(len(arms), 'arm')} in {duration(time.monotonic() - began)}", highlight=False)
    untried = [arm for arm, error in failures.items() if plan.resources.accelerator != "cpu" and needs_gpu(error)]
    for arm in untried:
        why = one_line(failures.pop(arm))
        console.print(f"not tried, as it needs a GPU: arm {arm}: {why}", style="yellow", highlight=False, markup=False)
    return failures


def _refusing(plan: Plan, failures: Mapping[str, Exception], console: Console) -> dict[str, Exception]:
    """Return the failures of a trial that refuse the request.

    A setting of a tuned arm may diverge while another setting of the arm trains, because it is then not chosen.
    """
    if plan.tunes is None:
        return dict(failures)
    training = {arm_and_setting(name)[0] for name in plan.study.each_arm if name not in failures}
    diverged = [name for name, error in failures.items() if isinstance(error, NotFiniteError) and arm_and_setting(name)[0] in training]
    if diverged:
        console.print(
            f"note: {', '.join(diverged)}: diverged in the first step. A setting that diverges is not chosen while another one does not",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return {name: error for name, error in failures.items() if name not in diverged}


def _bar(text: str, console: Console) -> Progress:
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
