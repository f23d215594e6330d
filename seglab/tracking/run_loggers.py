"""The loggers of a run, and what is given to them at its end."""

from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import Logger

from seglab.tracking.artifacts import Kept
from seglab.tracking.config import Described
from seglab.tracking.csv_log import CSVLog
from seglab.tracking.local_rows import logs, mark_uploaded
from seglab.tracking.modes import WandbMode, resolved_mode
from seglab.tracking.tables import End
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
    made: list[Logger] = [table]
    if chosen != "disabled":
        made.append(logger := wandb_logger(described, chosen))
        if not logger.run.offline and described.id is not None:
            _replace_offline_logs(described.directory, described.id)
    return made if tracker is None else [*made, tracker.logger(described)]


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
    """Mark the offline logs of a run that goes on online as uploaded: their rows are sent again, and `wandb sync` would repeat them."""
    for path in logs(directory, run_id, "offline-run"):
        mark_uploaded(path)
