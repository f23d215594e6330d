"""Identity: two runs are the same run if their settings are equal.

`description.py` describes an arm, and `differences.py` compares descriptions.
"""

from collections.abc import Sequence
from typing import Any

import seglab
from seglab.data import SegmentationDataModule
from seglab.data.check import check_channels
from seglab.data.contents import Format
from seglab.data.shifts import Shift
from seglab.module import SegmentationModule
from seglab.records import NUMERICS, Run, StudyRecord
from seglab.stage import Progress
from seglab.study.description import describe
from seglab.study.differences import changes, shift_changes
from seglab.study.failures import raise_failures
from seglab.study.names import public_name
from seglab.study.settings import Settings
from seglab.study.study import Study


def record(study: Study, arms: Sequence[str], batch_norm_parts: int = 1, other: SegmentationModule | None = None) -> StudyRecord:
    """Return the record of a study with these of its `each_arm`. Builds each arm twice.

    Args:
        study: the study.
        arms: names of arms.
        batch_norm_parts: number of parts of a batch that each have batch norm statistics of their own.
        other: the module of the only arm, built under another seed than 0. The arm is then built once.

    Raises:
        Exception: arms cannot be built or described, see `raise_failures`.
    """
    start = planned(study) if arms else Progress(0, 1, 1)
    described, failures = dict[str, Any](), dict[str, Exception]()
    for arm in arms:
        try:
            described[arm] = describe(study.factory(arm), start, other)
        except Exception as error:  # noqa: BLE001 - whatever an arm raises, the other arms are tried
            failures[arm] = error
    raise_failures(failures)
    return StudyRecord(
        study=study.name,
        baseline=study.baseline,
        metric=study.metric,
        shared=shared(study, batch_norm_parts),
        arms=described,
        factors=tuple(study.factors),
        shifts={name: described_shift(shift, study.data) for name, shift in study.shifts.items()},
        version=seglab.__version__,
    )


def shared(study: Study, batch_norm_parts: int = 1) -> dict[str, Any]:
    """Return the settings that all runs of a study have in common.

    The number of devices is a setting only if each device computes batch norm statistics over its own part of a batch.
    """
    settings = Settings()
    return {
        "numerics": NUMERICS,
        "data": settings.plain(study.data.identity()),
        "epochs": study.epochs,
        "precision": study.precision,
        **{name: True for name in ("channels_last", "compile") if getattr(study, name)},
        "accumulate": study.accumulate,
        "gradient_clip": study.gradient_clip,
        "batch_norm_parts": batch_norm_parts,
        **({"tuning": _tuning(study)} if study.budget else {}),
        "code": dict(sorted(settings.code.items())),
    }


def planned(study: Study) -> Progress:
    """Return the progress at the beginning of a run: step 0, total optimizer steps, and steps of an epoch."""
    per_epoch = -(-len(study.data.train_dataloader()) // study.accumulate)
    return Progress(0, study.epochs * per_epoch, per_epoch)


def check_same(recorded: StudyRecord, study: Study, run: Run, batch_norm_parts: int = 1, module: SegmentationModule | None = None) -> None:
    """Raise a ValueError if a run's settings differ from the record, because script, data or code have changed.

    Args:
        recorded: the record.
        study: the study as it is now.
        run: the run.
        batch_norm_parts: number of parts of a batch that each have batch norm statistics of their own.
        module: the module of the run, just built under its seed; it spares a build.
    """
    now = record(study, [study.entry(run)], batch_norm_parts, other=module if run.seed != 0 else None)
    lines = [*changes(recorded, now), *shift_changes(recorded, now)]
    if recorded.entry(run) not in recorded.arms:
        lines.append(f"study.json has no arm {recorded.entry(run)}")
    if lines:
        raise ValueError(f"{run.name}: script or data have changed since study.json was written: {'; '.join(lines)} (recorded → now)")


def refused_images(recorded: StudyRecord, images: Format) -> dict[str, Exception]:
    """Return an error for each arm whose network or normalisation expects another number of channels than the images'.

    Arms whose module is of the user's own class are not checked, because it may convert the images.
    """
    refused: dict[str, Exception] = {}
    for arm, settings in recorded.arms.items():
        module, network = settings["module"], settings["network"]
        if module["class"] == public_name(SegmentationModule):
            try:
                check_channels(images, network.get("config", {}).get("in_channels"), module["mean"], module["std"])
            except ValueError as error:
                refused[arm] = error
    return refused


def described_shift(shift: Shift, data: SegmentationDataModule) -> dict[str, Any]:
    """Return the settings of a shift, the content of its domain, and the user's code that it uses.

    `kind` is the class of the shift, whose severities are averaged first in the mean over the corruptions; None for
    another domain.
    """
    settings = Settings()
    described = settings.plain(data.shift_identity(shift))
    kind = settings.named(type(shift)) if shift.domain() is None else None
    return {"kind": kind, **described, "code": dict(sorted(settings.code.items()))}


def _tuning(study: Study) -> dict[str, Any]:
    """Return how the setting of each arm is chosen, and the number of candidates.

    A single tuning without a final round and folds is described as by seglab 0.3 and earlier, which had nothing else.
    """
    return {
        "metric": study.tuning_metric,
        "seeds": list(study.tuning_seeds),
        **({"final_seeds": list(study.final_round_seeds)} if study.final_round_seeds else {}),
        **({"folds": study.tuning_folds} if study.tuning_folds is not None else {}),
        **({"tunings": study.tunings} if study.tunings > 1 else {}),
        "settings": study.budget,
    }
