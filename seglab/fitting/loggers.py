"""The loggers of a fit: `metrics.csv` and W&B, both in the folder of the fit."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from seglab import tracking
from seglab.tracking import CSVLog, Described, resolved_mode
from seglab.tracking.modes import is_logged_in, not_followed_by_fit
from seglab.wandb_variables import check_wandb_variables

OF_ANOTHER_RUN = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_DIR")
"""Variables by which a fit in a shell of another run would write into that run, or into its folder."""


def loggers(given: Sequence[Logger] | None, described: Described) -> list[Logger]:
    """Return the loggers of a fit or an evaluation.

    Args:
        given: the loggers that the user has named; None for the default ones. A `CSVLogger` among them writes into the
            folder of the fit, because its own choice of a folder is not safe if two fits start at once.
        described: the fit.

    Raises:
        ValueError: W&B has to be online, and nobody is logged in.
    """
    if (line := not_followed_by_fit(os.environ)) is not None:
        print(line, file=sys.stderr)
    if "WANDB_SWEEP_ID" not in os.environ:  # else an agent of a sweep has started this fit, and names its run
        for name in OF_ANOTHER_RUN:
            os.environ.pop(name, None)
    mode = resolved_mode("auto")
    if mode != "disabled":
        check_wandb_variables()
    if given is not None:
        os.environ["WANDB_MODE"] = mode  # a W&B logger that the user has named is offline too unless somebody is logged in
        return [CSVLog(described.directory) if type(logger) is CSVLogger else _started(logger) for logger in given]
    if mode == "online" and not is_logged_in():
        raise ValueError(_explained("nobody is logged in to Weights & Biases on this machine."))
    return tracking.loggers(described, mode)


def _started(logger: Logger) -> Logger:
    """Start the run of a W&B logger, and return the logger.

    Lightning would start it when the folder is made and nothing is refused.
    """
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
        raise ValueError(_explained(" ".join(str(error).split()))) from error


def _explained(why: str) -> str:
    return f"W&B is to be online (WANDB_MODE): {why} Log in with `wandb login`, or set WANDB_MODE=offline or disabled"
