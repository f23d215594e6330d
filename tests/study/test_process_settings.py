"""Settings of the process are as before after a run, whether the run succeeds or fails."""

import logging
import os
import warnings
from typing import Any

import lightning as L
import pytest
import torch

from seglab.running.process import run_settings


def state() -> dict[str, Any]:
    lightnings, ours = logging.getLogger("lightning.pytorch"), logging.getLogger("seglab")
    return {
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "lightning's level": lightnings.level,
        "our level": ours.level,
        "our handlers": list(ours.handlers),
        "asks NVML for GPUs": os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"),
        "warnings": list(warnings.filters),
    }


def within() -> dict[str, Any]:
    L.Trainer(accelerator="cpu", deterministic="warn", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return state()


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_all_is_as_it_was(fill: bool, deterministic: bool, fails: bool) -> None:
    first = state()
    try:
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(deterministic)
        before = state()
        if fails:
            with pytest.raises(RuntimeError, match="the run failed"), run_settings():
                raise_after(seen := within())
        else:
            with run_settings():
                seen = within()
        assert state() == before
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = first["fill"]  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(first["deterministic"], warn_only=first["warn only"])
    assert (seen["fill"], seen["deterministic"], seen["warn only"]) == (False, True, True)
    assert (seen["lightning's level"], seen["our level"]) == (logging.WARNING, logging.INFO)
    assert seen["our handlers"]
    assert (seen["asks NVML for GPUs"], before["asks NVML for GPUs"]) == ("1" if torch.cuda.is_available() else "0", "1")


def raise_after(_: object) -> None:
    raise RuntimeError("the run failed")
