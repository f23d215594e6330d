"""A job: one run of a study, with everything that its training needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seglab import records
from seglab.data import SegmentationDataModule
from seglab.records import Run, StudyRecord
from seglab.running import ledger
from seglab.running.resources import Resources
from seglab.study.study import Study

EvaluatedSplit = Literal["val", "test"]


@dataclass(frozen=True)
class Job:
    """One run of a study, with its folder, record, command and resources."""

    study: Study
    run: Run
    folder: Path
    """The study's folder, which holds the folder of the run."""
    record: StudyRecord
    """The settings that `folder` holds. A job trains only if its study still has these settings."""
    command: Sequence[str]
    """Command line that repeats the run, as words."""
    resources: Resources
    tuning: bool = False
    """True if the run serves to choose a setting. A tuning run is never scored on the test split. If it diverges, it is
    not repeated.
    """

    @property
    def directory(self) -> Path:
        """The folder of the run."""
        return self.run.directory(self.folder)

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.directory / "checkpoints"

    @property
    def resume_checkpoint(self) -> Path:
        """The checkpoint from which an interrupted training continues. It is deleted when the result is written."""
        return self.checkpoints / "resume.ckpt"

    @property
    def identity(self) -> str:
        """Hash of the settings of the run.

        Raises:
            ValueError: the record lacks the arm of the run, as one that was added to the script after `launch`.
        """
        if self.record.entry(self.run) not in self.record.arms:
            raise ValueError(
                f"{self.folder}/study.json does not have the arm {self.record.entry(self.run)}; `run` or `launch` again adds it"
            )
        return records.identity(self.record, self.run)

    @property
    def origin(self) -> str:
        """Text in each checkpoint of the run: hash of the settings, and seed.

        A run continues only from its own checkpoints.
        """
        return f"{self.identity} seed {self.run.seed}"

    @property
    def splits(self) -> tuple[EvaluatedSplit, ...]:
        """Splits on which the trained network is scored, except the training split."""
        return ("val",) if self.tuning else ("val", "test")

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the shifts under which the trained network is scored."""
        return () if self.tuning else tuple(self.study.shifts)

    @property
    def lacking_shifts(self) -> tuple[str, ...]:
        """Names of the shifts of the study under which the run has no score yet."""
        return lacking_shifts(self.study, self.run, self.folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, command and settings of the run as plain data, for `settings.yaml` and W&B."""
        arm = self.record.arms[self.record.entry(self.run)]
        return {"run": self.run.name, "command": list(self.command), "shared": self.record.shared, "arm": arm, "seed": self.run.seed}

    @property
    def is_settled(self) -> bool:
        """Return whether nothing is left to do for the run."""
        return ledger.settled(self.directory, self.tuning) and not self.lacking_shifts

    @property
    def is_open(self) -> bool:
        """Return whether the run has no result yet and may be tried, or tried again."""
        return not self.is_settled and ledger.failures(self.directory) <= self.resources.retries

    def seeded_data(self) -> SegmentationDataModule:
        """Return the study's data with the run's seed."""
        return self.study.data.with_seed(self.run.seed)


def lacking_shifts(study: Study, run: Run, folder: Path) -> tuple[str, ...]:
    """Return the names of the shifts of a study under which a run has no score yet.

    A finished run has none for a shift that was added to the study later. A damaged result lacks nothing: the run has
    to be repeated.
    """
    path = run.directory(folder) / "result.json"
    if not study.shifts or not path.exists():
        return tuple(study.shifts)
    try:
        scores = records.read_result(path).shift
    except ValueError:
        return ()
    return tuple(name for name in study.shifts if name not in scores)
