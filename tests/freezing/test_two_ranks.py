"""Two real processes under every schedule are bit-identical, and equal one process on the joint batches."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.freezing.two_ranks import ARMS, RESUMED, train
from tests.nets import batches

pytestmark = pytest.mark.slow

Ends = list[dict[str, Any]]
"""Final weights of each training, on both ranks."""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    folder: Path = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("two_ranks.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (script.parent, script.parents[2]))), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, script, folder], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def largest_difference(ends: Ends, name: str) -> float:
    """The largest difference between the two ranks' weights and norm statistics after one training."""
    first, second = (end[name] for end in ends)
    assert first.keys() == second.keys()
    return max(float((first[key].double() - second[key].double()).abs().max()) for key in first)


@pytest.mark.parametrize("arm", [*ARMS, "plain norms"])
def test_ranks_are_bit_identical(arm: str, ends: Ends) -> None:
    assert largest_difference(ends, arm) == 0.0


def test_ranks_drift_apart_under_lightnings_own_callback(ends: Ends) -> None:
    """The counter-example (Lightning issue 20340): what it unfreezes is never synchronised, and nobody is told."""
    assert largest_difference(ends, "BackboneFinetuning") > 1e-3
    first, second = (end["BackboneFinetuning"] for end in ends)
    assert torch.equal(first["segmentation_head.weight"], second["segmentation_head.weight"]), "what trained all along is in step"


@pytest.mark.parametrize("arm", ARMS)
def test_two_processes_are_one(arm: str, ends: Ends) -> None:
    alone = train(arm, batches())
    for name, value in alone.items():
        torch.testing.assert_close(ends[0][arm][name], value, rtol=1e-4, atol=3e-6, msg=f"{name}: {{}}".format)


def test_each_schedule_had_its_effect(ends: Ends) -> None:
    ended: dict[str, Tensor] = {}
    for arm in ARMS:
        weights = torch.cat([value.flatten() for value in ends[0][arm].values()])
        assert all(not torch.equal(weights, other) for other in ended.values()), arm
        ended[arm] = weights


@pytest.mark.parametrize("schedule", RESUMED)
def test_resumed_on_two_processes_is_uninterrupted(schedule: str, ends: Ends) -> None:
    for end in ends:
        whole, resumed = end[f"resumed {schedule}"]
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.parametrize(("name", "step"), [("drift before a change", 3), ("drift at the end", 12)])
def test_processes_that_drift_apart_are_stopped(name: str, step: int, ends: Ends) -> None:
    for end in ends:  # both stop, and neither waits for the other
        assert (
            f"after step {step}, process 1 holds other weights than process 0 in 1 of 18 tensors (network.decoder.up.weight)" in end[name]
        )
