"""Trainers whose settings would change the numbers of two ranks are refused on both ranks.

The message says what to give instead.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from seglab.callbacks.ranks import check_batch_norms
from seglab.networks import unet

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


def test_norms_of_lightning_are_refused_on_processors_and_ours_are_not(said: list[dict[str, str]]) -> None:
    for rank in said:
        assert "SyncBatchNorm layers only work with GPU modules" in rank["Lightning's norms"]
        assert rank["ours"] == "nothing"


def converted(encoder: str) -> tuple[dict[str, type[nn.Module]], nn.Module]:
    """The types of a network's modules, and the network after what Lightning does for `sync_batchnorm=True`."""
    network = unet(encoder, 4)
    return {name: type(part) for name, part in network.named_modules()}, TorchSyncBatchNorm().apply(network)


def test_norms_that_lightning_spoils_are_refused() -> None:
    check_batch_norms(*converted("tu-test_resnet"))
    with pytest.raises(
        ValueError, match=r"has replaced the BatchNormAct2d 'encoder.* plugins=\[seglab.networks.batch_norm.JointBatchNorm\(\)\]"
    ):
        check_batch_norms(*converted("tu-mobilenetv3_small_050"))
