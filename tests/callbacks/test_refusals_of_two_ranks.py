"""Trainers whose settings would change the numbers of two ranks are refused on both, in a sentence that says what to give instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("refusals")
    script = Path(__file__).with_name("refusals_of_two_ranks.py")
    environment = os.environ | {"PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, script, folder], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("stage", ["train", "validate", "test"])
def test_data_that_lightning_splits_again_are_refused(stage: str, said: list[dict[str, str]]) -> None:
    for rank in said:
        assert "give the Trainer use_distributed_sampler=False" in rank[stage]
        assert rank["split once"] == "nothing"


def test_norms_that_lightning_spoils_are_refused(said: list[dict[str, str]]) -> None:
    for rank in said:
        assert "has replaced the BatchNormAct2d" in rank["timm, Lightning's norms"]
        assert "plugins=[seglab.networks.batch_norm.JointBatchNorm()]" in rank["timm, Lightning's norms"]
        assert "has replaced the BatchNorm2d" in rank["plain, Lightning's norms"]  # torch has no kernel for a CPU
        assert rank["timm, ours"] == "nothing"
