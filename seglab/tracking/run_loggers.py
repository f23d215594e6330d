"""The loggers of a run, and what is given to them at its end."""

import logging
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import Logger

from seglab.tracking.artifacts import Kept
from seglab.tracking.config import Described
from seglab.tracking.csv_log import CSVLog
from seglab.tracking.local_logs import logs, mark_uploaded
from seglab.tracking.modes import WandbMode, resolved_mode
from seglab.tracking.tables import End
from seglab.tracking.tracker import Tracker
from seglab.tracking.wandb_log import OnceLogger
from seglab.tracking.wandb_run import wandb_logger

log = logging.getLogger("seglab")


def loggers(described: Described, mode: WandbMode, tracker: Tracker | None = None) -> list[Logger]:
    """Return the loggers of a run: that of `metrics.csv`, that of W&B unless it is disabled, and the tracker's.

    Offline, W&B writes into `<directory>/wandb`; `seglab sync` uploads it later.

    Args:
        described: the run.
        mode: whether and how the run is logged to W&B.
        tracker: makes one more logger.
    """
    table = CSVLog(described.directory)  # the first, because Lightning takes its folder from the first logger
    chosen = resolved_mode(mode)
    made: list[Logger] = [table]
    if chosen != "disabled" and (logger := _at_wandb(described, chosen)) is not None:
        made.append(logger)
    return made if tracker is None else [*made, tracker.logger(described)]


def _at_wandb(described: Described, mode: WandbMode) -> OnceLogger | None:
    """Return the logger of a run at W&B; None if W&B cannot even log it offline, for example because a disk is full."""
    try:
        logger = wandb_logger(described, mode)
        if not logger.run.offline and described.id is not None:
            _replace_offline_logs(described.directory, described.id)
    except Exception as error:  # noqa: BLE001 - whatever W&B raises, the training goes on
        log.warning("W&B cannot log this run (%s): metrics.csv has its numbers", " ".join(str(error).split()) or type(error).__name__)
        return None
    return logger


def conclude(loggers: Iterable[Logger], end: End | None, kept: Kept) -> None:
    """Give tables, summary and files of a run that has ended to W&B.

    Args:
        loggers: the loggers of the run.
        end: scores of the trained network; None for a training without any.
        kept: the files to keep at W&B.
    """
    for logger in loggers:
        if isinstance(logger, OnceLogger):
            logger.conclude(end, kept)


def _replace_offline_logs(directory: Path, run_id: str) -> None:
    """Mark the offline logs of a run that continues online as uploaded, because their rows are sent again.

    Otherwise, `wandb sync` would send these rows a second time.
    """
    for path in logs(directory, run_id, "offline-run"):
        mark_uploaded(path)
