"""Plans: runs that a command line selects, commands that repeat them, and the check against the study's record."""

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seglab.data.loading.sampler import split_batch
from seglab.files import locked
from seglab.records import TUNING, Changed, Run, StudyRecord, arm_and_tuning, changed_since, check_schema, read_record, write_record
from seglab.running import ledger
from seglab.running.declared import agreed_analysis
from seglab.running.flags import changed_flags
from seglab.running.job import EvaluatedSplit, Job, lacking_shifts
from seglab.running.resources import Resources
from seglab.study.arms import Tuned, arm_and_setting
from seglab.study.differences import accept, changes, shift_changes
from seglab.study.identity import record
from seglab.study.study import Study

SCORED: tuple[EvaluatedSplit, ...] = ("val", "test")
"""Splits of which each process of a run evaluates a part."""


@dataclass(frozen=True)
class Selection:
    """Selection of a study's runs; None selects all. Each field is a flag, and its documentation is the flag's help."""

    arm: str | None = None
    """Arm to select alone."""
    setting: str | None = None
    """Setting of a tuned --arm: select only the arm's tuning runs with this setting."""
    seed: int | None = None
    """Seed to select alone."""

    def has_arm(self, arm: str) -> bool:
        """Return whether runs of this arm are selected."""
        return self.arm in (None, arm)

    @property
    def flags(self) -> list[str]:
        """The selection as words of a command line."""
        return changed_flags(self, ("arm", "setting", "seed"))


@dataclass(frozen=True)
class Script:
    """An experiment script, and the values of all parameters of its study function as flags."""

    start: tuple[str, ...]
    """Words after `python` that start the script: its path, or `-m` and its module."""
    flags: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Flags of the parameters and of the place that differ from their defaults; only for people to read."""


@dataclass(frozen=True)
class Plan:
    """Runs of a study, with everything that is needed to start them."""

    study: Study
    root: Path
    script: Script
    resources: Resources
    selection: Selection = Selection()
    tunes: Study | None = None
    """Tuned study, if the plan holds its tuning runs; None if the plan holds the study's own runs."""
    accept_code: str | None = None
    """Reason why the edits of the user's code since the study was recorded change no number; None accepts no edit."""
    amend: str | None = None
    """Reason why the declared analysis changes after the first result; None accepts no change."""
    try_arms: bool = True
    """True if each new arm is tried before anything is written."""

    @property
    def folder(self) -> Path:
        """The folder that holds the runs."""
        return self.root / self.study.name if self.tunes is None else self.root / self.tunes.name / TUNING

    @property
    def whole(self) -> Study:
        """The study itself, also if these are its tuning runs, which are tested under no shift."""
        return self.study if self.tunes is None else self.tunes

    @property
    def runs(self) -> list[Run]:
        """Runs that can be started. The runs of a tuned arm can be started once its setting is chosen."""
        wanted = self.selection
        if self.tunes is not None:
            return self.tunes.tuning_runs(wanted.arm, wanted.setting, wanted.seed)
        each = self.study.each_arm
        return [run for run in self.study.runs(wanted.arm, wanted.seed) if not isinstance(each[self.study.entry(run)], Tuned)]

    @property
    def all_runs(self) -> list[Run]:
        """Runs that can be started, and runs that wait for the setting of their arm."""
        return self.runs if self.tunes is not None else self.study.runs(self.selection.arm, self.selection.seed)

    @property
    def arms(self) -> list[str]:
        """Entries of `study.json` for the runs that can be started; for tuning runs, with all their settings."""
        runs = self.runs if self.tunes is None else self.tunes.tuning_runs(self.selection.arm)
        return sorted({self.study.entry(run) for run in runs}, key=list(self.study.each_arm).index)

    def settled(self, run: Run) -> bool:
        """Return whether nothing is left to do for a run."""
        return ledger.settled(run.directory(self.folder), tuning=self.tunes is not None) and not self._lacks_shifts(run)

    @property
    def untested(self) -> list[Run]:
        """Finished runs that lack a score under some shift of the study. They are tested again, and not trained."""
        if not self.study.shifts:
            return []
        return [run for run in self.runs if (run.directory(self.folder) / "result.json").exists() and self._lacks_shifts(run)]

    def _lacks_shifts(self, run: Run) -> bool:
        return bool(self.study.shifts) and bool(lacking_shifts(self.study, run, self.folder))

    @property
    def unsettled(self) -> list[Run]:
        """Runs that can be started and are not settled."""
        return [run for run in self.runs if not self.settled(run)]

    def jobs(self) -> list[Job]:
        """Return a job for each of `runs`, under the settings that the folder records.

        Raises:
            ValueError: the folder has no record.
        """
        found = read_record(self.folder)
        if found is None:
            raise ValueError(f"{self.folder}: has no study.json; `run` writes it")
        return [self.job(run, found) for run in self.runs]

    def job(self, run: Run, record: StudyRecord) -> Job:
        """Return the job of one run, under the settings in `record`."""
        return Job(self.study, run, self.folder, record, self.command(run), self.resources, tuning=self.tunes is not None)

    def command(self, run: Run) -> list[str]:
        """Return the command that repeats one run, to be pasted into a shell."""
        return [*self._start("run"), *self.only(run).flags]

    def short_command(self, run: Run) -> list[str]:
        """Return `command` without the flags that have their default values."""
        return ["python", *self.script.start, "run", *self.script.changed, *self.resources.repeating_flags, *self.only(run).flags]

    def worker_command(self) -> list[str]:
        """Return the command of a worker, which works on these runs until none is left."""
        verb = "work" if self.tunes is None else "work-tuning"
        return [*self._start(verb), *self.selection.flags, *self.resources.worker_flags]

    def only(self, run: Run) -> Selection:
        """Return the selection of one run."""
        if self.tunes is None:
            return Selection(run.arm, None, run.seed)
        name, setting = arm_and_setting(run.arm)
        return Selection(arm_and_tuning(name, self.tunes.tunings)[0], setting, run.seed)

    def _start(self, verb: str) -> list[str]:
        place = ["--root", str(self.root), "--name", self.study.name if self.tunes is None else self.tunes.name]
        return ["python", *self.script.start, verb, *self.script.flags, *place, *self.resources.repeating_flags]


def agreed_record(plan: Plan) -> StudyRecord:
    """Return the record of the plan's folder, with the plan's arms added.

    A folder holds one setting, and one declared analysis. New arms and seeds may join before the first result, or by an
    amendment.

    Raises:
        ValueError: the folder holds runs of other settings, or results of another declared analysis; the message lists
            the differences.
    """
    return _merged(plan, record(plan.study, plan.arms, plan.resources.batch_norm_parts))


def check_shared(plan: Plan) -> None:
    """Raise a ValueError if the plan's folder holds runs of other shared settings.

    This works before settings of tuned arms are chosen.
    """
    _merged(plan, record(plan.study, [], plan.resources.batch_norm_parts))


def _merged(plan: Plan, wanted: StudyRecord) -> StudyRecord:
    existing = read_record(plan.folder)
    if existing is None:
        if any(plan.folder.glob("*/seed-*/result.json")):
            raise ValueError(
                f"{plan.folder}: holds results, but no study.json says of which settings; choose another folder with --name or --root"
            )
        return _with_analysis(plan, wanted, None)
    check_schema(plan.folder, existing)
    existing = dataclasses.replace(existing, accepted=tuple(dict.fromkeys((*existing.accepted, *wanted.accepted))))
    if plan.accept_code is not None:
        existing = accept(existing, wanted, plan.accept_code)
    lines = [*changes(existing, wanted), *shift_changes(existing, wanted), *_other_candidates(plan, existing)]
    if lines:
        raise ValueError(
            f"{plan.folder} holds runs of other settings, and a folder never mixes two. {'; '.join(lines)} (there → requested). "
            f"Choose another folder with --name or --root, or request the settings that are there{_remedies(existing, lines)}"
        )
    merged = {**wanted.arms, **existing.arms}  # both describe a common arm alike; the existing text stays, because results carry its hash
    order = {arm: place for place, arm in enumerate(plan.study.each_arm)}
    arms = {arm: merged[arm] for arm in sorted(merged, key=lambda arm: order.get(arm, len(order)))}
    shifts = {**existing.shifts, **wanted.shifts}
    agreed = dataclasses.replace(
        wanted, shared=existing.shared, arms=arms, accepted=existing.accepted, shifts=shifts, version=existing.version
    )
    return _with_analysis(plan, agreed, existing)


def _with_analysis(plan: Plan, agreed: StudyRecord, existing: StudyRecord | None) -> StudyRecord:
    """Return the record with the analysis that its folder and the plan agree on. Tuning runs have none."""
    if plan.tunes is not None:
        return agreed
    analysis, amendments = agreed_analysis(plan.folder, existing, plan.study.analysis, plan.amend)
    return dataclasses.replace(agreed, analysis=analysis, amendments=amendments, baseline=analysis.baseline, metric=analysis.metric)


def _remedies(existing: StudyRecord, lines: Iterable[str]) -> str:
    """Return advice on certain differences, to be appended to the message that lists the differences."""
    version = ""
    if any(line.startswith("numerics: ") for line in lines):
        changed = changed_since(existing.shared.get("numerics"))
        version = f", with seglab {existing.version}, as this version gives other numbers"
        version += f" for what uses {' or '.join(map(_spoken, changed))}" if changed else ""
    edited = any("the code of" in line for line in lines)
    if any(line.startswith(("tuning.seeds: ", "tuning.final_seeds: ")) for line in lines):
        tuning = existing.shared["tuning"]
        version += (
            f". Its settings were chosen over the tuning seeds {', '.join(map(str, tuning['seeds']))}, with a final round of "
            f"{len(tuning.get('final_seeds', ()))} seeds (seglab 0.3: 2 seeds, and no final round): give the Study these tuning_seeds and this "
            f"final_round, as by --tuning_seeds {len(tuning['seeds'])} --final_round {len(tuning.get('final_seeds', ()))}"
        )
    if any(line.startswith("shift ") for line in lines):
        version += ", or give a changed shift another name"
    return version + (". An edit that changes no number is accepted by --accept_code 'why', which study.json keeps" if edited else "")


def _spoken(changed: Changed) -> str:
    return changed.name + (f" with {' and '.join(changed.only_with)}" if changed.only_with else "")


def _other_candidates(plan: Plan, existing: StudyRecord) -> list[str]:
    """Return a line for every arm whose tuning had other candidates.

    More candidates would give this arm a larger tuning budget.
    """
    if plan.tunes is None:
        return []
    there, now = _settings_of(existing.arms), _settings_of(plan.arms)
    searched = [arm for arm in now if plan.tunes.tuned[arm].search is not None]  # it may add settings that it has proposed
    return [
        f"arm {arm}: settings: {', '.join(there[arm])} → {', '.join(now[arm])}"
        for arm in now
        if arm in there and {*there[arm]} != {*now[arm]} and not (arm in searched and {*there[arm]} < {*now[arm]})
    ]


def _settings_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the settings of each arm: `l1@a`, `l1@b`, `l2@a` → `{"l1": ["a", "b"], "l2": ["a"]}`."""
    found: dict[str, list[str]] = {}
    for arm, setting in map(arm_and_setting, names):
        found.setdefault(arm, []).append(setting)
    return found


def check_place(folder: Path) -> None:
    """Raise a ValueError if `folder` cannot be created or is not writable."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"{folder}: cannot be made, as {nearest} is a file; choose another folder with --root")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"{folder}: no permission to write in {nearest}; choose another folder with --root")


def check_split(plan: Plan) -> None:
    """Raise a ValueError if a batch, or the images of an evaluation, cannot be divided among the processes of a run."""
    processes, data = plan.resources.processes, plan.study.data
    if processes == 1:
        return
    own = [data.sizes(seed) for seed in dict.fromkeys(run.seed for run in plan.runs)] if data.folds is not None else [data.sizes(data.seed)]
    split_batch(min(data.batch_size, *(sizes["train"] for sizes in own)), processes)
    sizes = {f"{split} split": min(sizes[split] for sizes in own) for split in SCORED}
    sizes |= {f"shift {name}": len(data.shifted(shift)) for name, shift in plan.whole.shifts.items()}
    for what, images in sizes.items():
        if images < processes:
            raise ValueError(f"the {what} has {images} images, and a run {processes} processes, each of which needs one: use fewer devices")


def save_record(plan: Plan, agreed: StudyRecord) -> None:
    """Write the study's record before the first run starts. Keep arms that another `run` has added meanwhile."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    ledger.remove_leftovers(plan.folder)
    with locked(plan.folder):  # several `run --arm` may start at the same moment
        write_record(plan.folder, _merged(plan, agreed))


def withdraw_record(plan: Plan) -> None:
    """Delete the study's record, and the folders that are empty without it, after a cluster has refused its jobs.

    Nothing is deleted if anything else is in the folder, such as a run. A record alone would bind the next request to
    its settings.
    """
    if [path.name for path in plan.folder.iterdir()] == ["study.json"]:
        (plan.folder / "study.json").unlink()
        with contextlib.suppress(OSError):  # a folder that is not empty
            for folder in (plan.folder, *(parent for parent in plan.folder.parents if parent.is_relative_to(plan.root))):
                folder.rmdir()
