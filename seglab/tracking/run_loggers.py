"""The loggers of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from seglab.records import Run
from seglab.tracking.csv_log import CSVLog
from seglab.tracking.modes import WandbMode, resolved_mode
from seglab.tracking.wandb_log import wandb_logger


def loggers(run: Run, identity: str, directory: Path, configuration: Mapping[str, Any], mode: WandbMode) -> list[Logger]:
    """Return the loggers of a run: that of `metrics.csv`, then that of W&B unless it is disabled.

    Offline, W&B writes into `<directory>/wandb`; `wandb sync <directory>/wandb/offline-run-*` uploads it later.

    Args:
        run: the run.
        identity: the run's identity, part of its W&B id.
        directory: the run's folder.
        configuration: the run's settings, which W&B shows.
        mode: whether and how the run is logged to W&B.
    """
    table = CSVLog(directory)  # the first, because Lightning takes its folder from the first logger
    chosen = resolved_mode(mode)
    return [table] if chosen == "disabled" else [table, wandb_logger(run, identity, directory, configuration, offline=chosen == "offline")]
