"""Choose whether and how a run is logged to W&B, and which of W&B's environment variables are followed."""

import netrc
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from seglab.wandb_variables import check_wandb_variables, is_followed

WandbMode = Literal["auto", "online", "offline", "disabled"]
"""`auto`: the mode in `WANDB_MODE`; without it, online if the user is logged in, else offline."""

_MODES: dict[str, WandbMode] = {
    "": "auto",
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",
    "dryrun": "offline",
}
"""Values of `WANDB_MODE`. `run` and `dryrun` are W&B's older words."""

NAMING = frozenset(
    f"WANDB_{name}"
    for name in ("RUN_GROUP", "JOB_TYPE", "NAME", "RUN_NAME", "RUN_ID", "RESUME", "DIR", "SWEEP_ID", "RUN_RESUME_FROM", "FORK_FROM")
)
"""Variables that name one run or its folder. seglab names its runs itself."""


def resolved_mode(mode: WandbMode) -> WandbMode:
    """Return the mode that `auto` stands for on this machine now; return any other mode as it is.

    Raises:
        ValueError: an environment variable asks for a mode that does not exist.
    """
    if mode != "auto":
        return mode
    asked = _asked()
    return ("online" if is_logged_in() else "offline") if asked == "auto" else asked


def check_mode(mode: WandbMode) -> None:
    """Raise a ValueError if runs would be logged online without a login, or W&B rejects an environment variable.

    W&B would raise its own error in each run.
    """
    resolved = resolved_mode(mode)
    if resolved != "disabled":
        check_wandb_variables()
    if resolved == "online" and not is_logged_in():
        asked = "--wandb online" if mode == "online" else "WANDB_MODE=online"
        raise ValueError(
            f"{asked}: nobody is logged in to Weights & Biases on this machine; call `wandb login` or set WANDB_API_KEY, or choose "
            "--wandb offline and upload the runs later"
        )


def not_followed(names: Collection[str]) -> str | None:
    """Return a line naming the W&B environment variables that a study does not follow; None if there are none."""
    return _named(name for name in names if name.startswith("WANDB_") and not is_followed(name))


def not_followed_by_fit(names: Collection[str]) -> str | None:
    """Return a line naming the W&B environment variables that a fit does not follow, or None.

    The result is None if there are no such variables, or in a sweep.
    """
    return None if "WANDB_SWEEP_ID" in names else _named(NAMING & set(names))


def _named(names: Iterable[str]) -> str | None:
    found = sorted(names)
    why = "because seglab says itself what its runs log, under which name, and where (docs/howto/wandb.md)"
    return f"{', '.join(found)}: not followed, {why}" if found else None


def _asked() -> WandbMode:
    """Return the mode that the environment asks for.

    Raises:
        ValueError: there is no such mode, or it is not for runs of seglab.
    """
    disabled = os.environ.get("WANDB_DISABLED", "").strip().lower()
    if disabled in ("true", "1", "yes", "on", "t", "y"):
        return "disabled"
    if disabled not in ("", "false", "0", "no", "off", "f", "n"):
        raise ValueError(f"WANDB_DISABLED={disabled}: neither true nor false; expected true, which disables W&B, or unset it")
    given = os.environ.get("WANDB_MODE", "")
    if given not in _MODES:
        why = "writes one run from several processes, and a run of seglab has one" if given == "shared" else "is no mode of W&B"
        raise ValueError(f"WANDB_MODE={given}: {given} {why}; expected online, offline or disabled")
    return _MODES[given]


def is_logged_in() -> bool:
    """Return whether `wandb login` has stored a key. wandb's own check would fix the mode of the whole process."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
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
