"""The loggers of a run, and what is given to them at its end."""

from collections.abc import Iterable

from lightning.pytorch.loggers import Logger

from seglab.records import Result
from seglab.tracking.artifacts import Kept
from seglab.tracking.config import Described
from seglab.tracking.csv_log import CSVLog
from seglab.tracking.modes import WandbMode, resolved_mode
from seglab.tracking.tracker import Tracker
from seglab.tracking.wandb_log import OnceLogger
from seglab.tracking.wandb_run import wandb_logger


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
    at_wandb = [] if chosen == "disabled" else [wandb_logger(described, chosen)]
    return [table, *at_wandb, *([] if tracker is None else [tracker.logger(described)])]


def conclude(loggers: Iterable[Logger], result: Result | None, kept: Kept) -> None:
    """Give tables, summary and files of a run that has ended to W&B. The file `confusion.npz` of the run is read.

    Args:
        loggers: the loggers of the run.
        result: the result of the run; None for a training that belongs to no study.
        kept: the files to keep at W&B.
    """
    for logger in loggers:
        if isinstance(logger, OnceLogger):
            logger.conclude(result, kept)
