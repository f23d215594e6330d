"""W&B's environment variables: which ones seglab follows, and what is wrong with them, before W&B itself fails.

No torch.
"""

import os
import re
from collections.abc import Mapping, MutableMapping

FOLLOWED = frozenset(
    f"WANDB_{name}"
    for name in (
        *("MODE", "DISABLED", "PROJECT", "ENTITY", "ORGANIZATION", "USERNAME", "USER_EMAIL", "TAGS", "NOTES"),
        *("API_KEY", "IDENTITY_TOKEN_FILE", "CREDENTIALS_FILE", "BASE_URL", "APP_URL"),
        *("HTTP_PROXY", "HTTPS_PROXY", "X_PROXIES", "INSECURE_DISABLE_SSL", "X_EXTRA_HTTP_HEADERS"),
        *("HTTP_TIMEOUT", "INIT_TIMEOUT", "FILE_PUSHER_TIMEOUT", "X_SERVICE_WAIT"),
        *("CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR"),
        *("SILENT", "QUIET", "DEBUG", "CORE_DEBUG", "ERROR_REPORTING", "DISABLE_GIT", "DISABLE_CODE", "X_SAVE_REQUIREMENTS"),
    )
)
"""Variables of W&B that say where all runs are logged, as whom and how. All others describe one run (WANDB_RUN_ID,
WANDB_SWEEP_ID …), and several runs under one name or one id would overwrite each other, or they change what seglab
logs.
"""

_FOLLOWED_KINDS = re.compile("WANDB_X_(GRAPHQL|FILE_STREAM|FILE_TRANSFER|STATS|DISABLE)_.+")
"""Further variables that are followed: those of W&B's requests, and of its measurements of the machine."""

_SECRET = "WANDB_API_KEY"
_NAMES = ("WANDB_NAME", "WANDB_RUN_ID", "WANDB_RUN_GROUP")
"""Variables that are not checked: W&B says itself what is wrong with a key, and a study does not follow names."""


def is_followed(name: str) -> bool:
    """Return whether runs of a study follow a variable of W&B. `WANDB__NAME` is another spelling of `WANDB_X_NAME`.

    >>> is_followed("WANDB_PROJECT"), is_followed("WANDB__FILE_STREAM_RETRY_MAX"), is_followed("WANDB_RUN_ID")
    (True, True, False)
    """
    name = re.sub("^WANDB__", "WANDB_X_", name)
    return name in FOLLOWED or _FOLLOWED_KINDS.fullmatch(name) is not None


def drop_unusable_wandb(environment: MutableMapping[str, str] = os.environ) -> None:
    """Delete the variables of W&B that would do harm: those that are empty, and the service of another process.

    wandb itself would refuse an empty `WANDB_MODE` or `WANDB_BASE_URL` with its own traceback. A process that uses
    wandb sets `WANDB_SERVICE` for its children. Its service ends with it, and takes relative paths for those of its own
    directory.
    """
    for name in list(environment):
        if name == "WANDB_SERVICE" or (name.startswith("WANDB_") and not environment[name].strip()):
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
