"""Where the numbers of a run are logged: `metrics.csv` beside it, which is the truth, and Weights & Biases, which is for looking."""

import logging
import netrc
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from seglab.run import Run

WandbMode = Literal["auto", "online", "offline", "disabled"]
"""`auto`: online for a user who is logged in, else offline; `WANDB_MODE` and `WANDB_PROJECT` are respected."""


def loggers(run: Run, identity: str, directory: Path, configuration: Mapping[str, Any], mode: WandbMode) -> list[Logger]:
    """The CSV logger first (Lightning takes its folder from the first), then W&B unless it is disabled.

    Offline, W&B writes into `<directory>/wandb`; `wandb sync <directory>/wandb/offline-run-*` uploads it later.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        csv = CSVLogger(directory, name="", version="", flush_logs_every_n_steps=50)
        assert csv.experiment is not None
    chosen = resolved_mode(mode)
    return [csv] if chosen == "disabled" else [csv, _wandb(run, identity, directory, configuration, offline=chosen == "offline")]


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

    logger = WandbLogger(
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
