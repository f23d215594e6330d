"""Where the numbers of a run are logged: `metrics.csv` beside it, which is the truth, and Weights & Biases, which is for looking."""

import csv
import logging
import netrc
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seglab.records import Run, write_text

WandbMode = Literal["auto", "online", "offline", "disabled"]
"""`auto`: online for a user who is logged in, else offline; `WANDB_MODE` and `WANDB_PROJECT` are respected."""


def loggers(run: Run, identity: str, directory: Path, configuration: Mapping[str, Any], mode: WandbMode) -> list[Logger]:
    """The CSV logger first (Lightning takes its folder from the first), then W&B unless it is disabled.

    Offline, W&B writes into `<directory>/wandb`; `wandb sync <directory>/wandb/offline-run-*` uploads it later.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        table = CSVLogger(directory, name="", version="", flush_logs_every_n_steps=50)
        assert table.experiment is not None
    chosen = resolved_mode(mode)
    return [table] if chosen == "disabled" else [table, _wandb(run, identity, directory, configuration, offline=chosen == "offline")]


def written_rows(table: CSVLogger) -> str:
    """The text of `metrics.csv` with all that has been logged."""
    table.save()
    path = Path(table.experiment.metrics_file_path)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def restore_rows(loggers: Sequence[Logger], text: str) -> None:
    """Let `metrics.csv` be this text, and go on behind it."""
    header, *rows = csv.reader(text.splitlines()) if text else [[]]
    for logger in loggers:
        if isinstance(logger, CSVLogger) and text:
            write_text(Path(logger.experiment.metrics_file_path), text)
            logger.experiment.metrics_keys = header
        if isinstance(logger, OnceLogger):
            logger.row = len(rows)


class OnceLogger(WandbLogger):
    """Logs each row once, in however many attempts a run is made: W&B keeps what it has, and would show a repeated step twice.

    It keeps a file of one byte for each row that it has logged. What W&B loses when its process is killed stays lost there;
    `metrics.csv` has it.
    """

    count: Path
    row = 0
    """How many rows have been logged so far, in this attempt or, before its checkpoint, in others."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.row += 1
        if self.row > (self.count.stat().st_size if self.count.exists() else 0):
            super().log_metrics(metrics, step)
            with self.count.open("ab") as file:
                file.write(b".")


def resolved_mode(mode: WandbMode) -> WandbMode:
    """What `auto` means on this machine, now."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked in ("online", "offline", "disabled"):
        return asked  # type: ignore[return-value]
    return "online" if _is_logged_in() else "offline"


def _is_logged_in() -> bool:
    """Whether `wandb login` has left a key; wandb's own look at it would fix the mode of the process."""
    import wandb

    if os.environ.get("WANDB_API_KEY"):
        return True
    addresses = (os.environ.get("WANDB_BASE_URL", wandb.Settings().base_url), "https://api.wandb.ai")
    candidates = [Path(os.environ["NETRC"])] if "NETRC" in os.environ else [Path.home() / ".netrc", Path.home() / "_netrc"]
    try:
        found = [
            netrc.netrc(path).authenticators(urlparse(address).hostname or "")
            for path in candidates
            if path.exists()
            for address in addresses
        ]
    except (netrc.NetrcParseError, OSError):
        return False
    return any(entry is not None for entry in found)


def show_log() -> None:
    """Print what seglab logs to stderr: what a penalty acts on, what was measured."""
    log = logging.getLogger("seglab")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())


def finish() -> None:
    """End the W&B run of this process, so that the next run starts its own."""
    import wandb

    if wandb.run is not None:
        wandb.finish()


def wandb_id(run: Run, identity: str) -> str:
    """The same for the same run, so that a repeated or requeued one continues its curve."""
    return f"{run.study}-{run.arm}-s{run.seed}-{identity[:8]}".replace("+", "_").replace("@", "_").replace("=", "_").replace(",", "_")


def _wandb(run: Run, identity: str, directory: Path, configuration: Mapping[str, Any], *, offline: bool) -> Logger:
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
        assert logger.experiment is not None
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        if offline:
            raise
        warnings.warn(f"W&B cannot be reached ({error}); this run is logged offline, `wandb sync` uploads it later", stacklevel=2)
        os.environ["WANDB_MODE"] = "offline"  # the next run of this process need not wait for the network again
        wandb.teardown()  # its service still holds the id of the attempt
        return _wandb(run, identity, directory, configuration, offline=True)
    return logger
