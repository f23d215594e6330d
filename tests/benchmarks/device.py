"""The device that is measured: a GPU if there is one."""

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    """Wait for the device, so that a clock reads what was computed."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
