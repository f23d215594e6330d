"""The loggers of a fit: `metrics.csv` and W&B, both in the folder of the fit."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from seglab.tracking import CSVLog, resolved_mode

OF_ANOTHER_RUN = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_DIR")
"""Variables by which a fit in a shell of another run would write into that run, or into its folder."""


def loggers(given: Sequence[Logger] | None, folder: Path, configuration: Mapping[str, Any]) -> list[Logger]:
    """Return the loggers of a fit or an evaluation.

    Args:
        given: the loggers that the user has named; None for the default ones. A `CSVLogger` among them writes into `folder`, because its
            own choice of a folder is not safe if two fits start at once.
        folder: the folder of the fit.
        configuration: the settings that W&B shows.

    Raises:
        ValueError: W&B has to be online, and nobody is logged in.
    """
    if "WANDB_SWEEP_ID" not in os.environ:  # else an agent of a sweep has started this fit, and names its run
        for name in OF_ANOTHER_RUN:
            os.environ.pop(name, None)
    mode = resolved_mode("auto")
    if given is not None:
        os.environ["WANDB_MODE"] = mode  # a W&B logger that the user has named is offline too unless somebody is logged in
        return [CSVLog(folder) if type(logger) is CSVLogger else _started(logger) for logger in given]
    table = CSVLog(folder)
    return [table] if mode == "disabled" else [table, _wandb(folder, configuration, offline=mode == "offline")]


def _started(logger: Logger) -> Logger:
    """Start the run of a W&B logger, and return the logger. Lightning would start it when the folder is made and nothing is refused."""
    if isinstance(logger, WandbLogger):
        with _login_explained():
            _ = logger.experiment
    return logger


@contextlib.contextmanager
def _login_explained() -> Iterator[None]:
    """Explain how to log in, or how to do without, if W&B refuses a run."""
    import wandb

    try:
        yield
    except wandb.errors.UsageError as error:
        wandb.teardown()
        raise ValueError(
            f"W&B is to be online (WANDB_MODE): {' '.join(str(error).split())} Log in with `wandb login`, or set WANDB_MODE=offline or disabled"
        ) from error


def _wandb(folder: Path, configuration: Mapping[str, Any], *, offline: bool) -> Logger:
    """Start a W&B run and return its logger. If W&B cannot be reached, the run is offline."""
    import wandb

    try:
        with _login_explained():
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "seglab"),
                dir=folder,
                config=dict(configuration),
                settings=wandb.Settings(mode="offline" if offline else "online", silent=True, console="off", init_timeout=30),
            )
    except wandb.errors.CommError as error:
        if offline:
            raise
        wandb.teardown()
        warnings.warn(f"W&B cannot be reached ({error}): this fit is logged offline; `wandb sync` uploads it later", stacklevel=2)
        return _wandb(folder, configuration, offline=True)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)  # what Lightning's logger does with a run of its own
    return WandbLogger(experiment=run, save_dir=folder)
