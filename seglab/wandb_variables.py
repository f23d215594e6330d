"""Check W&B's environment variables before W&B does, which ends with errors of its own. No torch, and wandb only where it is checked."""

import os
from collections.abc import Mapping, MutableMapping

_SECRET = "WANDB_API_KEY"
_NAMES = ("WANDB_NAME", "WANDB_RUN_ID", "WANDB_RUN_GROUP")
"""Variables that are not checked: W&B says itself what is wrong with a key, and a study does not follow names."""


def drop_empty_wandb(environment: MutableMapping[str, str] = os.environ) -> None:
    """Delete the empty variables of W&B. wandb itself would refuse an empty `WANDB_MODE` or `WANDB_BASE_URL` with its own traceback."""
    for name in list(environment):
        if name.startswith("WANDB_") and not environment[name].strip():
            del environment[name]


def check_wandb_variables(environment: Mapping[str, str] = os.environ) -> None:
    """Raise a ValueError that names an environment variable whose value W&B does not take."""
    import wandb

    for name in sorted(environment):
        if not name.startswith("WANDB_") or name in (_SECRET, *_NAMES):
            continue
        try:
            wandb.Settings().update_from_env_vars({name: environment[name]})
        except (ValueError, wandb.errors.UsageError) as error:
            details = getattr(error, "errors", None)
            reason = str(details()[0]["msg"]) if callable(details) else str(error)
            raise ValueError(
                f"{name}={environment[name]}: W&B does not take this value ({' '.join(reason.split())}); correct or unset it"
            ) from None
