"""Which runs a request means, by which commands they can be repeated, and whether they fit what a folder already holds."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from seglab.run import Run, StudyRecord, read_record, write_record
from seglab.study import ledger
from seglab.study.describe import differences, record
from seglab.study.execute import Resources
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

    @property
    def folder(self) -> Path:
        return self.root / self.study.name

    @property
    def runs(self) -> list[Run]:
        return self.study.runs(self.arm, self.seed)

    def command(self, run: Run) -> list[str]:
        """What repeats one run, to be pasted into a shell."""
        return [*self._start("run"), "--arm", run.arm, "--seed", str(run.seed)]

    def worker_command(self) -> list[str]:
        """What works on these runs until none is left."""
        chosen = [*(["--arm", self.arm] if self.arm is not None else []), *(["--seed", str(self.seed)] if self.seed is not None else [])]
        return [*self._start("work"), *chosen, "--wandb", self.resources.wandb]

    def _start(self, verb: str) -> list[str]:
        place = ["--root", str(self.root), "--name", self.study.name]
        machine = [
            *(["--devices", str(self.resources.devices)] if self.resources.devices > 1 else []),
            "--accelerator",
            self.resources.accelerator,
        ]
        return [
            "python",
            self.script,
            verb,
            *self.flags,
            *place,
            *(machine if self.resources != Resources(wandb=self.resources.wandb) else []),
        ]


def agree(plan: Plan) -> StudyRecord:
    """The record of the plan's folder, with the plan's arms in it; a ValueError lists what differs from what the folder holds.

    A folder holds one setting. New arms and seeds may join; what made the runs that are there may not change.
    """
    arms = sorted({run.arm for run in plan.runs}, key=list(plan.study.arms).index)
    return _merged(plan, record(plan.study, arms, plan.resources.devices))


def _merged(plan: Plan, wanted: StudyRecord) -> StudyRecord:
    existing = read_record(plan.folder)
    if existing is None:
        if any(plan.folder.glob("*/seed-*/result.json")):
            raise ValueError(
                f"{plan.folder}: holds results, but no study.json says of which settings; choose another folder with --name or --root"
            )
        return wanted
    lines = differences(existing.shared, wanted.shared)
    for arm in wanted.arms:
        if arm in existing.arms:
            lines += [f"arm {arm}: {line}" for line in differences(existing.arms[arm], wanted.arms[arm])]
    if lines:
        raise ValueError(
            f"{plan.folder} holds runs of other settings, and a folder never mixes two. {'; '.join(lines)} (there → requested). "
            "Choose another folder with --name or --root, or request the settings that are there"
        )
    merged = {**wanted.arms, **existing.arms}  # equal where both have an arm; what was hashed into results stays as it was written
    order = {arm: place for place, arm in enumerate(plan.study.arms)}
    arms = {arm: merged[arm] for arm in sorted(merged, key=lambda arm: order.get(arm, len(order)))}
    return dataclasses.replace(wanted, shared=existing.shared, arms=arms)


def check_place(folder: Path) -> None:
    """A ValueError if `folder` cannot be made or written to."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"{folder}: cannot be made, as {nearest} is a file; choose another folder with --root")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"{folder}: no permission to write in {nearest}; choose another folder with --root")


def keep(plan: Plan, agreed: StudyRecord) -> None:
    """Write the record, before the first run; with what another `run` may have added to the folder meanwhile."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_record(plan.folder, _merged(plan, agreed))


def dry_run_table(plan: Plan, runs: Sequence[Run]) -> Table:
    """What `run` would do, run by run."""
    table = Table(title=f"{plan.folder}: {len(runs)} runs", title_justify="left", show_lines=False)
    for heading in ("arm", "seed", "state"):
        table.add_column(heading, no_wrap=True)
    for run in runs:
        table.add_row(run.arm, str(run.seed), ledger.state(run.directory(plan.folder)))
    return table


def shell(command: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)
