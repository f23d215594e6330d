"""Prepare a network for a run as the study asks: its layout in memory, and its translation by `torch.compile`."""

import torch
from torch import nn

from seglab.study.study import Study


def prepare_network(network: nn.Module, study: Study) -> None:
    """Lay out and translate a network in place. The names of its parameters stay as they are, and so do checkpoints."""
    if study.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if study.compile:
        network.compile()
