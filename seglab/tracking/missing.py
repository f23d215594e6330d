"""Send W&B what a run's logs lack: online rows whose upload failed, the end of a killed process, and later scores.

`metrics.csv`, `result.json` and `confusion.npz` of the run have everything except its pictures.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from seglab.records import read_result
from seglab.tracking.artifacts import Kept
from seglab.tracking.config import Described
from seglab.tracking.local_logs import is_uploaded, is_whole, logs
from seglab.tracking.state import State, moved, read_state, write_state
from seglab.tracking.tables import End
from seglab.tracking.wandb_log import OnceLogger
from seglab.tracking.wandb_run import finish, online_logger, wandb_logger
from seglab.transaction_log import steps

WRITE_SECONDS = 5.0
"""Longest wait for the end of a log to be written."""


def lacks_rows(directory: Path) -> bool:
    """Return whether W&B may lack rows of the run in `directory` that no offline log holds.

    A run that has no result yet is left alone: the same command again goes on with it, and logs what is missing.
    """
    state = read_state(directory)
    if state is None or not (directory / "result.json").exists():
        return False
    return not state.complete or (state.mode == "offline" and (bool(_attempts(state, directory, "run")) or _is_torn(state, directory)))


def log_missing(directory: Path) -> None:
    """Log the rows of a finished run that neither W&B nor an offline log has, with its tables and its summary.

    The rows after the last offline log go into one more offline log. The rows of online attempts go to W&B, which says
    how many it has, as far as no offline log holds them. Then `wandb sync` of the offline logs in the order of their
    names makes the run complete.

    Args:
        directory: the folder of the run.

    Raises:
        ValueError, OSError: the folder has no state of W&B, its files are damaged, or W&B cannot be reached.
    """
    state = read_state(directory)
    if state is None:
        raise ValueError(f"{directory}: has no wandb/seglab.json, so W&B knows nothing of this run")
    described = moved(state, directory).described
    rows, end = (directory / "metrics.csv").read_text(encoding="utf-8"), _end(directory)  # before a log is opened
    if state.mode == "offline" and (not state.complete or _is_torn(state, directory)):
        _log_all(wandb_logger(described, "offline", state.wanted), rows, end, directory)
        _until_written(state, directory)
    if state.mode == "offline" and not _attempts(state, directory, "run"):
        return
    logger = _online(described, state)
    waiting = [log for log in _attempts(state, directory, "offline-run") if not is_uploaded(log)]
    before = min((number for log in waiting for number in steps(log)), default=None)
    if before is None:
        _log_all(logger, rows, end, directory)
    else:
        logger.restore("".join(rows.splitlines(keepends=True)[: before + 1]))
        logger.concluded = True
        finish()


def expect_scores(directory: Path) -> None:
    """Note that scores are about to join a finished run's result, so W&B gets them even if this process is killed."""
    state = read_state(directory)
    if state is not None:
        write_state(replace(moved(state, directory), lacks_scores=True))


def log_scores(directory: Path) -> None:
    """Give W&B the scores that have joined the result of a finished run, if it lacks them and has the run.

    A run that waits in an offline log is left to `seglab sync`, which uploads the log first: an upload replaces all
    values of a run.

    Raises:
        ValueError, OSError: the files of the run are damaged, or W&B cannot be reached.
    """
    state = read_state(directory)
    if state is None or not state.lacks_scores or not all(map(is_uploaded, _attempts(state, directory, "offline-run"))):
        return
    rows, end = (directory / "metrics.csv").read_text(encoding="utf-8"), _end(directory)
    _log_all(_online(moved(state, directory).described, state), rows, end, directory)


def _online(described: Described, state: State) -> OnceLogger:
    """Return a logger that goes on with a run where it is at W&B; a ValueError if W&B cannot be reached."""
    try:
        return online_logger(described, state.wanted)
    except ConnectionError as error:
        raise ValueError(f"{described.directory}: W&B cannot be reached ({error}); try again later") from None


def _end(directory: Path) -> End:
    """Return the scores of a finished run."""
    with np.load(directory / "confusion.npz") as arrays:
        confusion = arrays["test"].sum(0, dtype=np.int64) if "test" in arrays else None
    return End(read_result(directory / "result.json"), confusion)


def _log_all(logger: OnceLogger, rows: str, end: End, directory: Path) -> None:
    """Log all rows that W&B lacks, and the end of the run."""
    logger.replay(rows)
    logger.conclude(end, Kept(directory, diff=False))
    finish()


def _is_torn(state: State, directory: Path) -> bool:
    """Return whether the last offline log of a finished run lacks its end."""
    offline = _attempts(state, directory, "offline-run")
    return bool(offline) and not is_whole(offline[-1])


def _until_written(state: State, directory: Path) -> None:
    """Wait until the service of W&B has written the last offline log, which it does shortly after the end of a run."""
    deadline = time.monotonic() + WRITE_SECONDS
    while _is_torn(state, directory) and time.monotonic() < deadline:
        time.sleep(0.05)


def _attempts(state: State, directory: Path, kind: str) -> list[Path]:
    """Return the local logs of the attempts at a run, `run` for online ones, `offline-run` for offline ones."""
    return [] if state.described.id is None else logs(directory, state.described.id, kind)
