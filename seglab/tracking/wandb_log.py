"""The log of a run at Weights & Biases."""

import csv
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seglab.records import Run


class OnceLogger(WandbLogger):
    """A W&B logger that logs each row once, however often a run is resumed (see `ResumableLog`).

    W&B keeps what it has, and would show a repeated step twice. The logger therefore keeps a file with one byte for each row that it has
    logged. W&B may lose rows if its process is killed; `metrics.csv` has them.
    """

    count: Path
    """The file with one byte per row."""
    row = 0
    """Number of rows of the run so far, those before the checkpoint of a resumed run included."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.row += 1
        if self.row > (self.count.stat().st_size if self.count.exists() else 0):
            super().log_metrics(metrics, step)
            with self.count.open("ab") as file:
                file.write(b".")

    def rows(self) -> None:
        """Return None: this logger keeps no text."""

    def restore(self, rows: str) -> None:
        """Count the rows that were logged before the checkpoint."""
        self.row = max(0, len(list(csv.reader(rows.splitlines()))) - 1)


def finish() -> None:
    """End the W&B run of this process, so that the next run starts its own."""
    import wandb

    if wandb.run is not None:
        wandb.finish()


def wandb_id(run: Run, identity: str) -> str:
    """Return the W&B id of a run. It is equal for equal runs, so that a repeated or requeued run continues its curve."""
    return f"{run.study}-{run.arm}-s{run.seed}-{identity[:8]}".replace("+", "_").replace("@", "_").replace("=", "_").replace(",", "_")


def wandb_logger(run: Run, identity: str, directory: Path, configuration: Mapping[str, Any], *, offline: bool) -> Logger:
    """Return a logger that has started its W&B run; an offline one if W&B cannot be reached.

    Args:
        run: the run.
        identity: the run's identity, part of its id.
        directory: the run's folder, in which W&B makes `wandb/`.
        configuration: the run's settings, which W&B shows.
        offline: write to the folder only.
    """
    import wandb

    logger = OnceLogger(
        name=run.name,
        id=wandb_id(run, identity),
        project=os.environ.get("WANDB_PROJECT", "seglab"),
        save_dir=directory,
        offline=offline,
        group=run.arm,
        job_type=run.study,
        config=dict(configuration),
        settings=wandb.Settings(mode="offline" if offline else "online", silent=True, console="off", init_timeout=30),
    )
    logger.count = directory / "wandb" / f"{wandb_id(run, identity)}.rows"
    try:
        assert logger.experiment is not None  # starts the W&B run
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        if offline:
            raise
        warnings.warn(f"W&B cannot be reached ({error}): this run is logged offline; `wandb sync` uploads it later", stacklevel=2)
        os.environ["WANDB_MODE"] = "offline"  # the next run of this process need not wait for the network again
        wandb.teardown()  # its service still holds the id of the attempt
        return wandb_logger(run, identity, directory, configuration, offline=True)
    return logger
