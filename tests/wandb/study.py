"""A study's folder with logs of W&B, as trainings would leave it: `python study.py FOLDER RUNS ROWS`. Each run has two attempts."""

import csv
import sys
from pathlib import Path

import wandb


def log_attempt(directory: Path, name: str, rows: range) -> None:
    """Log the rows of one attempt: row i has the step i, and an image in the last one."""
    run = wandb.init(project="stand-in", dir=directory, id=name, resume="allow", config={"lr": 0.5}, settings=wandb.Settings(silent=True))
    for row in rows:
        run.log({"trainer/global_step": 2 * row, "val/miou": row / 100}, step=row)
    run.finish()


def main(folder: Path, runs: int, rows: int) -> None:
    """Make runs of one arm, `l2`. Each has `rows` rows, the first third of them in an attempt that was interrupted."""
    for seed in range(runs):
        directory = folder / "l2" / f"seed-{seed}"
        directory.mkdir(parents=True)
        for attempt in (range(rows // 3), range(rows // 3, rows)):
            log_attempt(directory, f"demo-l2-s{seed}", attempt)
        with (directory / "metrics.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["step", "val/miou"])
            table.writerows([2 * row, row / 100] for row in range(rows))
        (directory / "result.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
