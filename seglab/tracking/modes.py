"""Choose whether and how a run is logged to W&B."""

import netrc
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

WandbMode = Literal["auto", "online", "offline", "disabled"]
"""`auto`: the mode in `WANDB_MODE`; without it, online if the user is logged in, else offline."""


def resolved_mode(mode: WandbMode) -> WandbMode:
    """Return the mode that `auto` stands for on this machine now; return any other mode as it is."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked in ("online", "offline", "disabled"):
        return asked  # type: ignore[return-value]
    return "online" if _is_logged_in() else "offline"


def check_mode(mode: WandbMode) -> None:
    """Raise a ValueError if runs would be logged online though nobody is logged in. W&B would raise its own error in each run."""
    if resolved_mode(mode) == "online" and not _is_logged_in():
        asked = "--wandb online" if mode == "online" else "WANDB_MODE=online"
        raise ValueError(
            f"{asked}: nobody is logged in to Weights & Biases on this machine; call `wandb login` or set WANDB_API_KEY, or choose "
            "--wandb offline and upload the runs later"
        )


def _is_logged_in() -> bool:
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
