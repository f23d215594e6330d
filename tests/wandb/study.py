"""A study's folder with logs of W&B, as trainings would leave it: `python study.py FOLDER RUNS TUNING ROWS`.

Each run has two attempts.
"""

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


def main(folder: Path, runs: int, tuning: int, rows: int) -> None:
    """Make runs of one arm, `l2`, and tuning runs of it.

    Each has `rows` rows, the first third of them in an attempt that was interrupted.
    """
    seeds = {f"demo-l2-s{seed}": folder / "l2" / f"seed-{seed}" for seed in range(runs)}
    seeds |= {f"demo-tuning-l2-s{seed}": folder / "tuning" / "l2@lr=0.1" / f"seed-{seed}" for seed in range(1000, 1000 + tuning)}
    for name, directory in seeds.items():
        directory.mkdir(parents=True)
        for attempt in (range(rows // 3), range(rows // 3, rows)):
            log_attempt(directory, name, attempt)
        with (directory / "metrics.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["step", "val/miou"])
            table.writerows([2 * row, row / 100] for row in range(rows))
        (directory / "result.json").write_text("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
