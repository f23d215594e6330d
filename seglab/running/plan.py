"""Which runs a request means, by which commands they can be repeated, and whether they fit what a folder already holds."""

import dataclasses
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglab.data.loading.sampler import split_batch
from seglab.records import TUNING, Run, StudyRecord, check_schema, read_record, write_record
from seglab.running import ledger
from seglab.running.execute import Resources
from seglab.study.arms import Chosen, Tuned, arm_and_setting
from seglab.study.identity import accept, changes, record
from seglab.study.study import Study


@dataclass(frozen=True)
class Plan:
    """Some runs of a study, and how to start them."""

    study: Study
    root: Path
    script: str
    flags: tuple[str, ...]
    """Every parameter of the study function, resolved."""
    resources: Resources
    arm: str | None = None
    seed: int | None = None
    setting: str | None = None
    """Of the tuning runs, those with this setting of `arm`."""
    tunes: Study | None = None
    """The study whose tuning runs these are; None for a study's own runs."""
    retries: int = 0
    """How often a run that has failed is tried again."""
    accept_code: str | None = None
    """Why edits of the user's code since the study was recorded change no number; None does not accept any."""

    @property
    def folder(self) -> Path:
        return self.root / self.study.name if self.tunes is None else self.root / self.tunes.name / TUNING

    @property
    def runs(self) -> list[Run]:
        """Those that can be started: of a tuned arm none before its setting is chosen."""
        if self.tunes is not None:
            return self.tunes.tuning_runs(self.arm, self.setting, self.seed)
        return [run for run in self.study.runs(self.arm, self.seed) if not isinstance(self.study.arms[run.arm], Tuned)]

    @property
    def all_runs(self) -> list[Run]:
        """With those that cannot be started yet."""
        return self.runs if self.tunes is not None else self.study.runs(self.arm, self.seed)

    @property
    def arms(self) -> list[str]:
        """The arms that these runs are of; of tuning runs, with all their settings."""
        runs = self.runs if self.tunes is None else self.tunes.tuning_runs(self.arm)
        return sorted({run.arm for run in runs}, key=list(self.study.arms).index)

    def settled(self, run: Run) -> bool:
        """Whether nothing is left to do for a run."""
        return ledger.settled(run.directory(self.folder), tuning=self.tunes is not None)

    @property
    def unsettled(self) -> list[Run]:
        """Those of `runs` for which something is left to do."""
        return [run for run in self.runs if not self.settled(run)]

    def command(self, run: Run) -> list[str]:
        """What repeats one run, to be pasted into a shell."""
        arm, setting = (run.arm, None) if self.tunes is None else arm_and_setting(run.arm)
        return [*self._start("run"), *_flags(arm, setting, run.seed)]

    def worker_command(self) -> list[str]:
        """What works on these runs until none is left."""
        verb = "work" if self.tunes is None else "work-tuning"
        retries = ["--retries", str(self.retries)] if self.retries else []
        return [*self._start(verb), *_flags(self.arm, self.setting, self.seed), *self.resources.flags, *retries]

    def _start(self, verb: str) -> list[str]:
        place = ["--root", str(self.root), "--name", self.study.name if self.tunes is None else self.tunes.name]
        return [
            "python",
            self.script,
            verb,
            *self.flags,
            *place,
            *self.resources.machine_flags,
        ]


def _flags(arm: str | None, setting: str | None, seed: int | None) -> list[str]:
    given = {"--arm": arm, "--setting": setting, "--seed": seed}
    return [word for flag, value in given.items() if value is not None for word in (flag, str(value))]


def agree(plan: Plan) -> StudyRecord:
    """The record of the plan's folder, with the plan's arms in it; a ValueError lists what differs from what the folder holds.

    A folder holds one setting. New arms and seeds may join; what made the runs that are there may not change.
    """
    return _merged(plan, record(plan.study, plan.arms, plan.resources.batch_norm_parts))


def check_shared(plan: Plan) -> None:
    """A ValueError if the plan's folder holds runs of other shared settings; to know it before the arms' own are chosen."""
    _merged(plan, record(plan.study, [], plan.resources.batch_norm_parts))


def _merged(plan: Plan, wanted: StudyRecord) -> StudyRecord:
    existing = read_record(plan.folder)
    if existing is None:
        if any(plan.folder.glob("*/seed-*/result.json")):
            raise ValueError(
                f"{plan.folder}: holds results, but no study.json says of which settings; choose another folder with --name or --root"
            )
        return wanted
    check_schema(plan.folder, existing)
    if plan.accept_code is not None:
        existing = accept(existing, wanted, plan.accept_code)
    lines = [*changes(existing, wanted), *_other_candidates(plan, existing)]
    if lines:
        raise ValueError(
            f"{plan.folder} holds runs of other settings, and a folder never mixes two. {'; '.join(lines)} (there → requested). "
            f"Choose another folder with --name or --root, or request the settings that are there{_remedies(existing, wanted, lines)}"
        )
    merged = {**wanted.arms, **existing.arms}  # equal where both have an arm; what was hashed into results stays as it was written
    order = {arm: place for place, arm in enumerate(plan.study.arms)}
    arms = {arm: merged[arm] for arm in sorted(merged, key=lambda arm: order.get(arm, len(order)))}
    return dataclasses.replace(wanted, shared=existing.shared, arms=arms, accepted=existing.accepted, version=existing.version)


def _remedies(existing: StudyRecord, wanted: StudyRecord, lines: Iterable[str]) -> str:
    """What else there is to do about certain differences."""
    other_numbers = existing.shared.get("numerics") != wanted.shared.get("numerics")
    return (f", with seglab {existing.version}, as this version gives other numbers" if other_numbers else "") + (
        ". An edit of code that changes no number is accepted by --accept_code 'why', which study.json keeps"
        if any("the code of" in line for line in lines)
        else ""
    )


def _other_candidates(plan: Plan, existing: StudyRecord) -> list[str]:
    """A line for every arm that has been tuned among other settings: more of them would be a larger budget than the other arms had."""
    if plan.tunes is None:
        return []
    there, now = _settings_of(existing.arms), _settings_of(plan.arms)
    return [
        f"arm {arm}: settings: {', '.join(there[arm])} → {', '.join(now[arm])}"
        for arm in now
        if arm in there and {*there[arm]} != {*now[arm]}
    ]


def _settings_of(names: Iterable[str]) -> dict[str, list[str]]:
    """`l1@a`, `l1@b`, `l2@a` by arm."""
    found: dict[str, list[str]] = {}
    for arm, setting in map(arm_and_setting, names):
        found.setdefault(arm, []).append(setting)
    return found


def check_place(folder: Path) -> None:
    """A ValueError if `folder` cannot be made or written to."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"{folder}: cannot be made, as {nearest} is a file; choose another folder with --root")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"{folder}: no permission to write in {nearest}; choose another folder with --root")


def check_split(plan: Plan) -> None:
    """A ValueError if a batch, or the images of an evaluation, cannot be divided among the processes of a run."""
    processes, data = plan.resources.processes, plan.study.data
    if processes == 1:
        return
    split_batch(min(data.batch_size, len(data.used("train"))), processes)
    for split in ("val", "test"):
        if (images := len(data.used(split))) < processes:
            raise ValueError(
                f"the {split} split has {images} images, and a run {processes} processes, each of which needs one: use fewer devices"
            )


def keep(plan: Plan, agreed: StudyRecord) -> None:
    """Write the record, before the first run; with what another `run` may have added to the folder meanwhile."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    ledger.remove_leftovers(plan.folder)
    write_record(plan.folder, _merged(plan, agreed))


def dry_run_table(plan: Plan, runs: Sequence[Run]) -> str:
    """What `run` would do, run by run; plain text, as they may be ten thousand."""
    tuned = plan.tunes is not None or plan.study.budget is not None
    rows = [("arm", *(["setting"] if tuned else []), "seed", "state")]
    for run in runs:
        name = _arm_and_setting(plan, run) if tuned else (run.arm,)
        rows.append((*name, str(run.seed), ledger.state(run.directory(plan.folder))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{plan.folder}: {len(runs)} runs", *lines])


def _arm_and_setting(plan: Plan, run: Run) -> tuple[str, str]:
    if plan.tunes is not None:
        return arm_and_setting(run.arm)
    arm = plan.study.arms[run.arm]
    return run.arm, arm.setting if isinstance(arm, Chosen) else "to be chosen"


def shell(command: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)
