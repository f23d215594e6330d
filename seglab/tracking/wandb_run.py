"""Start and finish a run at W&B: neither costs a training more than half a minute, whatever W&B does."""

import contextlib
import dataclasses
import functools
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from seglab.tracking.config import Described
from seglab.tracking.local_logs import logs, mark_uploaded
from seglab.tracking.modes import WandbMode
from seglab.tracking.series import define
from seglab.tracking.state import State, Wanted, read_state, wanted, write_state
from seglab.tracking.wandb_log import OnceLogger
from seglab.transaction_log import steps, values
from seglab.wandb_names import shortened

if TYPE_CHECKING:
    import wandb

START_SECONDS = 12.0
"""Longest wait for W&B at the start of a run, unless WANDB_INIT_TIMEOUT is set. The start of the offline log that
replaces an online one takes a few seconds more.
"""

FINISH_SECONDS = 20.0
"""Longest wait for the upload at the end of a run."""

LEAST_BYTES = 65536
"""Free space without which no log is begun."""

TAG = 64
"""Largest number of letters of a tag at W&B."""

log = logging.getLogger("seglab")


class _Process:
    """State of W&B in this process."""

    unreachable: str | None = None
    """Reason why W&B cannot be reached. Later runs of this process do not wait for it again."""
    open: tuple[OnceLogger, State] | None = None
    """Logger and state of the run that this process is logging."""


def wandb_logger(described: Described, mode: WandbMode, as_before: Wanted | None = None) -> OnceLogger:
    """Return a logger that has started its W&B run; an offline one if W&B cannot be reached.

    Args:
        described: the run.
        mode: online or offline.
        as_before: project, entity, tags and notes of the run; None for those of the environment.
    """
    problem = None
    if mode == "online":
        was_reached = _Process.unreachable is None
        try:
            return online_logger(described, as_before)
        except ConnectionError as error:
            problem = str(error)
            if was_reached:
                log.warning("W&B cannot be reached (%s): this run is logged offline; `seglab sync` uploads it later", problem)
    return _logger(described, as_before or wanted(described, offline=True), offline=True, problem=problem)


def online_logger(described: Described, as_before: Wanted | None = None) -> OnceLogger:
    """Return a logger that has started its W&B run, or goes on with it.

    Args:
        described: the run.
        as_before: project, entity, tags and notes of the run; None for those of the environment.

    Raises:
        ConnectionError: W&B cannot be reached, or refuses the run. Later runs of this process do not wait for it again.
    """
    import_wandb()
    import wandb

    if _Process.unreachable is None:
        try:
            return _logger(described, as_before or wanted(described, offline=False), offline=False)
        except (wandb.errors.CommError, wandb.errors.UsageError, wandb.errors.AuthenticationError, TimeoutError) as error:
            _Process.unreachable = _reason(error)
            wandb.teardown()  # its service still holds the id of the attempt
    raise ConnectionError(_Process.unreachable)


def _reason(error: Exception) -> str:
    """Return why W&B refuses a run, in one line, with the variable that may be wrong."""
    text = " ".join(str(error).split())
    entity = os.environ.get("WANDB_ENTITY")
    return f"{text}; check WANDB_ENTITY={entity}" if entity and re.search("entity|permission", text) else text


def _logger(described: Described, as_wanted: Wanted, *, offline: bool, problem: str | None = None) -> OnceLogger:
    """Start a W&B run and write its state. `problem` is the reason why the run is offline."""
    import_wandb()
    finish()
    _check_disk(described.directory)
    run = _started(described, as_wanted, offline)
    define(run)
    for handler in logging.getLogger("wandb").handlers:
        handler.handleError = _ignored  # type: ignore[method-assign]  # its debug log would print a traceback for each line on a full disk
    earlier = _earlier_logs(described, run) if offline else []
    sent = max((step + 1 for path in earlier for step in steps(path)), default=0) if offline else _sent_online(described, run)
    logger = OnceLogger(run, described.directory, sent, ended=described.phase in ("test", "validate"))
    for path in earlier:
        logger.before |= values(path)
    before = read_state(described.directory)
    url = run.url if not offline else None if before is None or before.described.id != described.id else before.url
    state = State(described, run.project, "offline" if offline else "online", url=url, problem=problem)
    state = dataclasses.replace(state, entity=run.entity or "", tags=as_wanted.tags, notes=as_wanted.notes)
    write_state(state)
    _Process.open = logger, state
    return logger


def import_wandb() -> None:
    """Import wandb without its error reports, which delay a process's end in an outage, and without pandas.

    W&B imports pandas at the first picture or table, only to ask whether it is a data frame. Without the import it
    looks at the name of the type. W&B lists all installed packages for each run. Here they are read once a process.
    W&B imports its launch at the first run. Here it is imported with the rest.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb.util

    with contextlib.suppress(ImportError):
        import wandb.sdk.launch.inputs.internal

    wandb.util.pd_available = False
    if not hasattr(wandb.util.working_set, "cache_info"):
        installed = wandb.util.working_set
        wandb.util.working_set = functools.cache(lambda: tuple(installed()))
        wandb.util.working_set()


def finish() -> None:
    """End the W&B run of this process, so that the next run starts its own.

    Log a warning if its end could not be uploaded.
    """
    import wandb

    (logger, state), _Process.open = _Process.open or (None, None), None
    if wandb.run is None:
        return
    problem = None if logger is None else logger.problem
    if logger is not None and problem is None and not Path(logger.run.settings.sync_file).exists():
        problem = "the folder of the log was deleted"
    try:
        wandb.run.finish()
    except Exception as error:  # noqa: BLE001 - whatever W&B raises, the result of the run stands
        problem = problem or " ".join(str(error).split()) or type(error).__name__
        if logger is None or logger.problem is None:  # else a line has said so already
            log.warning("W&B has not got everything of this run (%s); `seglab sync` uploads the rest later", problem)
        if state is not None and state.mode == "online":
            _Process.unreachable = problem
    if state is not None and logger is not None and state.described.directory.is_dir():
        complete = problem is None and logger.concluded
        with contextlib.suppress(OSError):  # the disk is full; the log then counts as not complete
            write_state(dataclasses.replace(state, complete=complete, problem=problem or state.problem))


def _ignored(record: logging.LogRecord) -> None:
    """Print nothing about a line of W&B's debug log that could not be written."""


def _check_disk(directory: Path) -> None:
    """Raise an OSError if there is no space for a log. W&B itself would print tracebacks."""
    place = directory / "wandb" if (directory / "wandb").is_dir() else directory
    if place.is_dir() and shutil.disk_usage(place).free < LEAST_BYTES:
        raise OSError(f"the disk of {place} is full: free some space, and later runs are logged again")


def _started(described: Described, as_wanted: Wanted, offline: bool) -> "wandb.Run":
    """Start a run at W&B, or continue it if W&B has its id."""
    import wandb

    tags = [*described.tags, *(tag.strip() for tag in as_wanted.tags.split(","))]
    settings = wandb.Settings(silent=True, console="off", finish_timeout=FINISH_SECONDS, finish_timeout_raises=True)
    if not offline and "WANDB_INIT_TIMEOUT" not in os.environ:  # offline, W&B waits for its own service on this machine only
        settings.init_timeout = START_SECONDS
    described.directory.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        entity=as_wanted.entity,
        project=as_wanted.project,
        dir=described.directory,
        id=described.id,
        resume=None if described.id is None else "allow",
        name=shortened(described.name),
        group=shortened(described.group),
        job_type=described.job_type,
        tags=[tag[:TAG] for tag in dict.fromkeys(tags) if tag],
        notes=f"{as_wanted.notes}\n{described.notes}".lstrip(),
        config=dict(described.config),
        mode="offline" if offline else "online",
        settings=settings,
    )


def _sent_online(described: Described, run: "wandb.Run") -> int:
    """Return the number of rows that W&B has of a run that continues."""
    rows = int(run.starting_step)
    earlier = [path for kind in ("run", "offline-run") for path in logs(described.directory, run.id, kind)]
    is_of_here = read_state(described.directory) is not None or any(path.parent != Path(run.settings.sync_dir) for path in earlier)
    if run.resumed and not is_of_here:
        log.warning(
            "W&B has an equal run already (%s, %d rows), of another folder: it keeps these rows, and gets the rows behind them. Delete that run "
            "at W&B first if it is not to be kept, or let its process end if it is alive",
            run.url,
            rows,
        )
    return rows


def _earlier_logs(described: Described, run: "wandb.Run") -> list[Path]:
    """Return the local logs of earlier attempts at a run that is offline now. W&B will have their rows."""
    if described.id is None:
        return []
    found = [path for kind in ("run", "offline-run") for path in logs(described.directory, described.id, kind)]
    found = [path for path in found if path.parent != Path(run.settings.sync_dir)]
    for path in found:
        if path.parent.name.startswith("offline-") and not any(True for _ in steps(path)):
            mark_uploaded(path)  # of a process that was killed at its start; `wandb sync` would stop at it
    return found
