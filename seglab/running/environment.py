"""Machine, package versions and git commit of a run."""

import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

_PACKAGES = ("seglab", "torch", "lightning", "torchmetrics", "segmentation-models-pytorch", "albumentations", "wandb", "numpy", "pillow")


def environment(on_gpu: bool) -> dict[str, Any]:
    """Return the machine and the package versions of this process, as plain data."""
    return {
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }


def commit() -> str | None:
    """Return the git commit of the working directory, with `+` if tracked files changed since; None outside of git."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
