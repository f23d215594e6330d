"""A finished study as its trainings leave it, with logs of W&B: `python finished.py FOLDER`.

Two arms, six seeds, and tuning runs.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import wandb

from seglab.records import Run, StudyRecord, identity, write_record
from tests.compare.drawn import study, write_study

SCORES = {"none": (0.50, 0.51, 0.49, 0.52, 0.50, 0.51), "l2": (0.55, 0.57, 0.54, 0.56, 0.56, 0.57)}


def log_run(directory: Path, name: str, config: Mapping[str, Any], score: float) -> None:
    """Log a run of three rows, with an image and a table in the last one."""
    run = wandb.init(project="stand-in", dir=directory, id=name, config=dict(config), settings=wandb.Settings(silent=True))
    for row in range(3):
        logged: dict[str, Any] = {"trainer/global_step": row, "val/miou": score - 0.1 + row / 20, "train/loss": 1 / (1 + row)}
        logged |= {"lr/encoder.0": config["lr"], "stage/encoder.0/norm": 1.0, "stage/encoder.0/zeros": 0.0}
        if row == 2:
            logged["val/predictions"] = [wandb.Image(np.zeros((4, 4, 3), np.uint8))]
            logged["test/classes"] = wandb.Table(columns=["class", "iou"], data=[["road", score]])
        run.log(logged, step=row)
    run.summary.update({"test/miou": score, "best/val_miou": score, "cost/seconds": 10.0})
    run.finish()


def main(folder: Path) -> None:
    record = StudyRecord("demo", "none", "test/miou", {}, {"none": {}, "l2": {"strength": 0.1}})
    results = [replace(result, run=Run("demo", result.run.arm, result.run.seed)) for result in study(SCORES)]
    write_study(folder, results, record)
    for arm, scores in SCORES.items():
        common = {"study": "demo", "arm": arm, "penalty": arm, "strength": 0.1 if arm == "l2" else None, "ratio": None}
        for seed, score in enumerate(scores):
            directory = Run("demo", arm, seed).directory(folder)
            own = {"seed": seed, "phase": "final", "lr": 0.01, "identity": identity(record, Run("demo", arm, seed))}
            log_run(directory, f"demo-{arm}-s{seed}", {**common, **own}, score)
        for lr in (0.01, 0.1):
            directory = folder / "tuning" / f"{arm}@lr={lr}" / "seed-1000"
            directory.mkdir(parents=True)
            (directory / "result.json").write_text("{}")
            log_run(
                directory,
                f"tuning-{arm}-{lr}",
                {**common, "seed": 1000, "phase": "tuning", "lr": lr, "identity": f"{arm}-{lr}"},
                scores[0] - lr,
            )
    write_record(folder / "tuning", StudyRecord("demo-tuning", "none@lr=0.01", "val/miou", {}, {}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
