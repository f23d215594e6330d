"""Take an environment variable that is set but empty as one that is not set. No torch and no wandb."""

import os
from collections.abc import MutableMapping


def drop_empty_wandb(environment: MutableMapping[str, str] = os.environ) -> None:
    """Delete the empty variables of W&B. wandb itself would refuse an empty `WANDB_MODE` or `WANDB_BASE_URL` with its own traceback."""
    for name in list(environment):
        if name.startswith("WANDB_") and not environment[name].strip():
            del environment[name]
